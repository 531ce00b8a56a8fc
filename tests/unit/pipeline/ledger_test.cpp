#include "refract/pipeline/ledger.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>

#include "refract/base/error.hpp"
#include "refract/base/file.hpp"

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
          .folder = fmt::format("{}{}", complete ? "chunk-" : "step-", visit),
          .saes = {{"a", {"w1", "s1"}}, {"b", {"w2", "s2"}}},
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
    ledger.prepared("s", "c", "h");
    ledger.ordered(2, 128, 2);
    ledger.finished("probe", "p");
  }

  const RunState state = Ledger(file).state();

  EXPECT_EQ(state.sealed.size(), 1u);
  EXPECT_EQ(state.sealed.at(1).digest, "other");
  EXPECT_TRUE(state.evicted.contains(0));
  EXPECT_EQ(state.known.at(0).rows, 64u);
  EXPECT_EQ(state.visits_done({"a", "b"}), 1u);
  EXPECT_EQ(state.checkpoints.back().steps_in_visit, 5u);
  EXPECT_EQ(state.checkpoints.back().saes.at("b"), (SaeCheckpoint{"w2", "s2"}));
  EXPECT_EQ(state.calibration, "c");
  EXPECT_EQ(state.heldout, "h");
  EXPECT_EQ(state.store, "s");
  EXPECT_EQ(state.visits, 2u);
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
  { Ledger(file).evicted(0); }
  std::ofstream(file, std::ios::app) << "nonsense\n";

  try {
    Ledger ledger(file);
    FAIL() << "the line was taken";
  } catch (const Damaged& error) {
    EXPECT_NE(std::string(error.what()).find(":3:"), std::string::npos) << error.what();
  }
}

TEST(Ledger, a_withdrawn_checkpoint_has_not_happened) {
  const fs::path file = fresh("ledger_d.jsonl");
  Ledger ledger(file);
  ledger.checkpointed(checkpoint(0, true));
  ledger.checkpointed(checkpoint(1, true));

  ledger.withdrawn(checkpoint(1, true), "cut short");

  EXPECT_EQ(Ledger(file).state().visits_done({"a", "b"}), 1u);
}

TEST(Ledger, counts_a_visit_when_every_sae_has_its_line) {
  const fs::path file = fresh("ledger_e.jsonl");
  {
    Ledger ledger(file);
    ledger.checkpointed(checkpoint(0, true));
    ledger.checkpointed(checkpoint(1, true));
  }
  const std::string text = read_file(file);
  write_file(file, text.substr(0, text.rfind('\n', text.size() - 2) + 1));  // as a kill leaves it

  const RunState state = read_ledger(file);

  EXPECT_EQ(state.visits_done({"a", "b"}), 1u);
  EXPECT_EQ(state.visits_done({"a"}), 2u);
  EXPECT_EQ(state.checkpoints_of({"a", "b"}).size(), 1u);
}

TEST(Ledger, believes_the_newer_lines_of_a_checkpoint_made_again) {
  const fs::path file = fresh("ledger_f.jsonl");
  Ledger ledger(file);
  ledger.checkpointed(checkpoint(0, true));
  CheckpointRecord again = checkpoint(0, true);
  again.saes["a"] = {"w3", "s3"};

  ledger.checkpointed(again);

  const RunState state = read_ledger(file);
  ASSERT_EQ(state.checkpoints.size(), 1u);
  EXPECT_EQ(state.checkpoints.front().saes.at("a").weights, "w3");
}

TEST(Ledger, finds_a_checkpoint_made_again_among_others) {
  const fs::path file = fresh("ledger_i.jsonl");
  Ledger ledger(file);
  for (std::uint64_t visit = 0; visit < 5; ++visit) ledger.checkpointed(checkpoint(visit, true));
  CheckpointRecord again = checkpoint(2, true);
  again.saes["a"] = {"w3", "s3"};

  ledger.checkpointed(again);
  ledger.withdrawn(checkpoint(4, true), "cut short");

  const RunState state = read_ledger(file);
  std::vector<std::string> folders;
  for (const CheckpointRecord& record : state.checkpoints) folders.push_back(record.folder);
  EXPECT_EQ(folders, (std::vector<std::string>{"chunk-0", "chunk-1", "chunk-3", "chunk-2"}));
  EXPECT_EQ(state.checkpoints.back().saes.at("a").weights, "w3");
}

TEST(Ledger, counts_the_rows_of_the_chunks_that_are_there) {
  Ledger ledger(fresh("ledger_j.jsonl"));
  ledger.sealed(0, {"digest", 64, 1000});
  ledger.sealed(1, {"digest", 32, 1000});
  ledger.sealed(1, {"another", 16, 1000});
  EXPECT_EQ(ledger.state().sealed_rows, 80u);

  ledger.evicted(0);
  ledger.lost(1);
  ledger.lost(1);

  EXPECT_EQ(ledger.state().sealed_rows, 0u);
}

TEST(Ledger, asks_before_each_line_whether_the_run_is_still_ours) {
  const fs::path file = fresh("ledger_g.jsonl");
  Ledger ledger(file, [] { throw SystemError("another job"); });

  EXPECT_THROW(ledger.evicted(0), SystemError);

  EXPECT_TRUE(read_ledger(file).evicted.empty());
}

TEST(Ledger, names_the_refract_that_wrote_another_schema) {
  const fs::path file = fresh("ledger_h.jsonl");
  write_file(file, "{\"event\":\"attempt\",\"attempt\":1}\n");

  try {
    (void)read_ledger(file);
    FAIL() << "a ledger of schema 1 was taken";
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find("refract 0.1.0"), std::string::npos) << error.what();
  }
}

TEST(CheckpointRecord, crosses_a_message_whole) {
  const CheckpointRecord sent = checkpoint(3, false);

  const CheckpointRecord got = checkpoint_record_from(to_text(sent));

  EXPECT_EQ(got.saes, sent.saes);
  EXPECT_EQ(got.folder, sent.folder);
  EXPECT_EQ(got.steps_in_visit, sent.steps_in_visit);
}

}  // namespace
}  // namespace refract
