#include "refract/pipeline/ledger.hpp"

#include <gtest/gtest.h>

#include <fstream>

#include "refract/base/error.hpp"

namespace refract {
namespace {

fs::path fresh(const char* name) {
  const fs::path file = fs::path(testing::TempDir()) / name;
  fs::remove(file);
  return file;
}

CheckpointRecord checkpoint(std::uint64_t visit, bool complete) {
  return {.visit = visit,
          .steps_in_visit = complete ? 0u : 5u,
          .complete = complete,
          .folder = complete ? "chunk" : "chunk.step",
          .saes = {{"a", "d1"}},
          .store = "s"};
}

TEST(Ledger, gives_back_after_reopening_what_was_written) {
  const fs::path file = fresh("ledger_a.jsonl");
  {
    Ledger ledger(file);
    ledger.attempt_started(
        {.attempt = 1, .job = "j", .host = "h", .started = "t", .ended = "", .outcome = ""});
    ledger.planned(0, 64);
    ledger.sealed(0, {"digest", 64, 1000});
    ledger.sealed(1, {"other", 64, 1000});
    ledger.checkpointed(checkpoint(0, true));
    ledger.checkpointed(checkpoint(1, false));
    ledger.evicted(0);
    ledger.finished("probe", "p");
  }

  const RunState state = Ledger(file).state();

  EXPECT_EQ(state.sealed.size(), 1u);
  EXPECT_EQ(state.sealed.at(1).digest, "other");
  EXPECT_TRUE(state.evicted.contains(0));
  EXPECT_EQ(state.visits_done(), 1u);
  EXPECT_EQ(state.checkpoints.back().steps_in_visit, 5u);
  EXPECT_EQ(state.checkpoints.back().saes.at("a"), "d1");
  EXPECT_EQ(state.finished.at("probe"), "p");
  EXPECT_EQ(state.attempts.at(0).job, "j");
}

TEST(Ledger, cuts_a_torn_last_line_and_goes_on) {
  const fs::path file = fresh("ledger_b.jsonl");
  { Ledger(file).sealed(0, {"digest", 64, 1000}); }
  std::ofstream(file, std::ios::app) << R"({"event":"sealed","chu)";

  Ledger ledger(file);
  ledger.evicted(0);

  EXPECT_TRUE(Ledger(file).state().sealed.empty());
}

TEST(Ledger, refuses_a_damaged_line_and_names_it) {
  const fs::path file = fresh("ledger_c.jsonl");
  std::ofstream(file) << "{\"event\":\"evicted\",\"chunk\":0}\nnonsense\n";

  try {
    Ledger ledger(file);
    FAIL() << "the line was taken";
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find(":2:"), std::string::npos) << error.what();
  }
}

TEST(Ledger, a_withdrawn_checkpoint_has_not_happened) {
  const fs::path file = fresh("ledger_d.jsonl");
  Ledger ledger(file);
  ledger.checkpointed(checkpoint(0, true));
  ledger.checkpointed(checkpoint(1, true));

  ledger.withdrawn(checkpoint(1, true), "cut short");

  EXPECT_EQ(Ledger(file).state().visits_done(), 1u);
}

}  // namespace
}  // namespace refract
