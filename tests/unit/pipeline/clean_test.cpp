// What no run names is said, and removed when asked; all else stays.
#include "refract/pipeline/clean.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <string>

#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/pipeline/run_registry.hpp"
#include "refract/store/claim.hpp"
#include "unit/store/scratch_folder.hpp"

namespace refract {
namespace {

using test::ScratchFolder;

// A data root with two runs' shards, tokens and contexts.
class DataRoot : public ::testing::Test {
 protected:
  DataRoot() {
    for (const char* run : {"one", "two"}) {
      make_folder(scratch_ / "runs" / run);
      put(fmt::format("shards/{}/a.jsonl", run));
      put(fmt::format("tokens/{}/a.h5", run));
      put(fmt::format("tokens/{}/contexts-{}/a.h5", run, run));
      register_run(root_, scratch_ / "runs" / run,
                   {root_ / "shards" / run, root_ / "tokens" / run,
                    root_ / "tokens" / run / (std::string("contexts-") + run)});
    }
    put("models/m/config.json");
    put("digests.jsonl");
  }
  void put(const std::string& name) const {
    make_folder((root_ / name).parent_path());
    write_file(root_ / name, "12345");
  }
  [[nodiscard]] bool is_there(const std::string& name) const { return fs::exists(root_ / name); }
  [[nodiscard]] std::vector<std::string> leftovers() const {
    std::vector<std::string> names;
    for (const Leftover& leftover : plan_clean(root_).leftovers)
      names.push_back(leftover.path.lexically_relative(fs::canonical(root_)).string());
    return names;
  }
  // A claim whose owner has died.
  static void claim_and_die(const fs::path& file) {
    const pid_t child = ::fork();
    if (child == 0) {
      std::string owner;
      const auto claim = Claim::try_take(file, "test", owner);
      ::_exit(claim ? 0 : 1);
    }
    int status = 1;
    ::waitpid(child, &status, 0);
    ASSERT_EQ(status, 0);
  }

  ScratchFolder scratch_;
  fs::path root_ = scratch_ / "data";
};

TEST_F(DataRoot, holds_nothing_left_over_while_its_runs_exist) {
  EXPECT_EQ(leftovers(), std::vector<std::string>{});
  EXPECT_NE(clean(root_, true).find("nothing that no run names"), std::string::npos);
  EXPECT_TRUE(is_there("tokens/one/contexts-one/a.h5"));
}

TEST_F(DataRoot, loses_what_only_a_removed_run_named_and_only_when_asked) {
  fs::remove_all(scratch_ / "runs" / "one");
  const std::vector<std::string> expected{"shards/one", "tokens/one"};

  EXPECT_EQ(leftovers(), expected);
  const std::string said = clean(root_, false);

  EXPECT_NE(said.find("add --yes"), std::string::npos) << said;
  EXPECT_NE(said.find("runs/one no longer exists"), std::string::npos) << said;
  EXPECT_TRUE(is_there("tokens/one/a.h5")) << "saying removed it";
  EXPECT_NE(clean(root_, true).find("removed"), std::string::npos);
  EXPECT_FALSE(is_there("tokens/one"));
  EXPECT_FALSE(is_there("shards/one"));
  for (const char* kept : {"shards/two/a.jsonl", "tokens/two/a.h5", "tokens/two/contexts-two/a.h5",
                           "models/m/config.json", "digests.jsonl", "runs.jsonl"})
    EXPECT_TRUE(is_there(kept)) << kept;
  EXPECT_EQ(leftovers(), std::vector<std::string>{});
}

TEST_F(DataRoot, finds_contexts_that_a_run_no_longer_names) {
  register_run(root_, scratch_ / "runs" / "one",
               {root_ / "shards" / "one", root_ / "tokens" / "one"});

  EXPECT_EQ(leftovers(), std::vector<std::string>{"tokens/one/contexts-one"});
}

TEST_F(DataRoot, keeps_what_a_run_names_and_what_was_fetched_for_it) {
  put("shards/fetched/a.jsonl");
  EXPECT_EQ(leftovers(), std::vector<std::string>{"shards/fetched"});

  register_more(root_, scratch_ / "runs" / "one", {root_ / "shards" / "fetched"});
  (void)clean(root_, true);

  for (const char* kept : {"shards/fetched/a.jsonl", "shards/one/a.jsonl", "tokens/one/a.h5"})
    EXPECT_TRUE(is_there(kept)) << kept;
  register_run(root_, scratch_ / "runs" / "one", {root_ / "shards" / "one"});
  EXPECT_EQ(leftovers(), (std::vector<std::string>{"shards/fetched", "tokens/one"}))
      << "what a run no longer names stays named";
}

TEST_F(DataRoot, finds_parts_and_claims_of_the_dead_and_keeps_those_of_the_living) {
  put("tokens/one/b.h5.part");
  put("shards/two/b.jsonl.part");
  claim_and_die(root_ / "tokens/one/b.h5.claim");
  const Claim alive = Claim::wait_for(root_ / "shards/two/b.jsonl.claim", "test");

  EXPECT_EQ(leftovers(),
            (std::vector<std::string>{"tokens/one/b.h5.claim", "tokens/one/b.h5.part"}));
  (void)clean(root_, true);

  EXPECT_FALSE(is_there("tokens/one/b.h5.part"));
  EXPECT_FALSE(is_there("tokens/one/b.h5.claim"));
  EXPECT_TRUE(is_there("shards/two/b.jsonl.part"));
  EXPECT_TRUE(is_there("shards/two/b.jsonl.claim"));
}

TEST_F(DataRoot, keeps_a_folder_that_no_run_names_while_someone_writes_in_it) {
  put("tokens/three/a.h5");
  const Claim alive = Claim::wait_for(root_ / "tokens/three/b.h5.claim", "test");

  EXPECT_EQ(leftovers(), std::vector<std::string>{});
  const std::string said = clean(root_, true);

  EXPECT_NE(said.find("tokens/three is kept"), std::string::npos) << said;
  EXPECT_TRUE(is_there("tokens/three/a.h5"));
}

TEST_F(DataRoot, follows_no_link_out_of_it) {
  make_folder(scratch_ / "elsewhere");
  write_file(scratch_ / "elsewhere" / "kept.h5.part", "x");
  fs::create_directory_symlink(scratch_ / "elsewhere", root_ / "tokens" / "link");

  (void)clean(root_, true);

  EXPECT_TRUE(fs::exists(scratch_ / "elsewhere" / "kept.h5.part"));
}

TEST_F(DataRoot, is_not_cleaned_when_its_registry_cannot_be_read) {
  fs::remove_all(scratch_ / "runs" / "one");
  AppendLog(run_registry(root_)).append("{\"run\": 3}");

  try {
    (void)clean(root_, true);
    FAIL() << "a registry that cannot be read was believed";
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find("runs.jsonl:3"), std::string::npos) << error.what();
  }
  EXPECT_TRUE(is_there("tokens/one/a.h5"));
}

TEST_F(DataRoot, is_left_alone_where_no_run_ever_registered) {
  fs::remove(run_registry(root_));

  EXPECT_NE(clean(root_, true).find("no run has registered"), std::string::npos);
  EXPECT_TRUE(is_there("tokens/one/a.h5"));
}

TEST_F(DataRoot, is_not_cleaned_while_a_run_registers) {
  const Claim registering = Claim::wait_for(claim_name(run_registry(root_)), "test");

  EXPECT_THROW((void)clean(root_, true), SystemError);
}

TEST(RunRegistry, keeps_one_entry_of_a_run_whatever_its_path_is_called) {
  const ScratchFolder scratch;
  make_folder(scratch / "data" / "tokens" / "a");
  make_folder(scratch / "run");
  register_run(scratch / "data", scratch / "run", {scratch / "data" / "tokens" / "a"});
  const std::string before = read_file(run_registry(scratch / "data"));
  register_run(scratch / "data/./", scratch / "data/../run/", {scratch / "data" / "tokens" / "a"});

  EXPECT_EQ(read_file(run_registry(scratch / "data")), before) << "a line was added for nothing";
  const auto runs = registered_runs(scratch / "data");
  ASSERT_EQ(runs.size(), 1u);
  EXPECT_EQ(runs[0].folders, std::vector<std::string>{"tokens/a"});
}

}  // namespace
}  // namespace refract
