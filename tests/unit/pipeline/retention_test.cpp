#include "pipeline/retention.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>

namespace refract {
namespace {

CheckpointRecord complete(std::uint64_t visit) {
  return {.visit = visit, .folder = fmt::format("chunk-{:06}", visit), .saes = {}, .store = {}};
}
CheckpointRecord within(std::uint64_t visit, std::uint64_t step) {
  return {.visit = visit,
          .steps_in_visit = step,
          .complete = false,
          .folder = fmt::format("chunk-{:06}.step-{:06}", visit, step),
          .saes = {},
          .store = {}};
}

// What is there, by folder; a file once removed never comes back.
class Folders {
 public:
  void make(const CheckpointRecord& record) { there_[record.folder] = {true, true}; }
  void remove(const std::vector<Superseded>& gone) {
    for (const Superseded& old : gone) {
      if (old.everything) there_.erase(old.folder);
      if (old.everything) continue;
      Files& files = there_.at(old.folder);
      if (old.trainer_state) files.state = false;
      if (old.exports) files.exports = false;
    }
  }
  [[nodiscard]] std::vector<std::string> with_state() const { return names(&Files::state); }
  [[nodiscard]] std::vector<std::string> with_exports() const { return names(&Files::exports); }
  [[nodiscard]] std::size_t count() const { return there_.size(); }

 private:
  struct Files {
    bool state, exports;
  };
  [[nodiscard]] std::vector<std::string> names(bool Files::*file) const {
    std::vector<std::string> found;
    for (const auto& [name, files] : there_)
      if (files.*file) found.push_back(name);
    return found;
  }
  std::map<std::string, Files> there_;
};

TEST(Retention, keeps_two_trainer_states_and_the_exports_of_the_rule) {
  const std::vector<std::string> newest{"chunk-000008", "chunk-000009"};
  for (const auto& [rule, exports] : std::vector<std::pair<KeepRule, std::vector<std::string>>>{
           {{.kind = KeepRule::Kind::last, .n = 1}, newest},
           {{.kind = KeepRule::Kind::last, .n = 3}, {"chunk-000007", newest[0], newest[1]}},
           {{.kind = KeepRule::Kind::every, .n = 4},
            {"chunk-000003", "chunk-000007", newest[0], newest[1]}}}) {
    Retention retention(rule);
    Folders folders;
    for (std::uint64_t visit = 0; visit < 10; ++visit) {
      folders.make(complete(visit));
      folders.remove(retention.add(complete(visit), 10));
    }

    EXPECT_EQ(folders.with_state(), newest);
    EXPECT_EQ(folders.with_exports(), exports) << rule.n;
    EXPECT_EQ(folders.count(), 10u) << "state.json stays";
  }
}

TEST(Retention, keeps_a_checkpoint_within_a_chunk_until_the_next_one) {
  Retention retention({.kind = KeepRule::Kind::all});
  Folders folders;
  for (const CheckpointRecord& record :
       {complete(0), within(1, 5), within(1, 9), complete(1), within(2, 3)}) {
    folders.make(record);
    folders.remove(retention.add(record, 9));
  }

  EXPECT_EQ(folders.with_state(),
            (std::vector<std::string>{"chunk-000000", "chunk-000001", "chunk-000002.step-000003"}));
}

TEST(Retention, a_new_checkpoint_supersedes_as_much_after_ten_thousand_as_after_ten) {
  Retention retention({.kind = KeepRule::Kind::last, .n = 5});
  for (std::uint64_t visit = 0; visit < 10'000; ++visit) {
    (void)retention.add(within(visit, 1), 10'000);
    const std::vector<Superseded> gone = retention.add(complete(visit), 10'000);

    ASSERT_LE(gone.size(), 3u) << visit;
    for (const Superseded& old : gone)
      ASSERT_GE(old.folder, fmt::format("chunk-{:06}", visit < 5 ? 0 : visit - 5));
  }
}

TEST(Retention, another_rule_is_applied_to_all_that_there_is) {
  std::vector<CheckpointRecord> records;
  Folders folders;
  for (std::uint64_t visit = 0; visit < 9; ++visit) {
    records.push_back(complete(visit));
    folders.make(records.back());
  }

  folders.remove(superseded_by_last({.kind = KeepRule::Kind::every, .n = 3}, records, 9));

  EXPECT_EQ(folders.with_exports(), (std::vector<std::string>{"chunk-000002", "chunk-000005",
                                                              "chunk-000007", "chunk-000008"}));
}

}  // namespace
}  // namespace refract
