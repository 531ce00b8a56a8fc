#include "refract/pipeline/checkpoints.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "refract/base/digest.hpp"
#include "refract/base/error.hpp"
#include "support/checkpoint_run.hpp"

namespace refract {
namespace {

using testing_support::CheckpointRun;

class CheckpointsOfARun : public ::testing::Test {
 protected:
  CheckpointsOfARun()
      : root_(fs::path(::testing::TempDir()) /
              (std::string("checkpoints_") +
               ::testing::UnitTest::GetInstance()->current_test_info()->name())) {
    fs::remove_all(root_);
    run_ = std::make_unique<CheckpointRun>(root_, 100);
  }
  ~CheckpointsOfARun() override {
    run_.reset();
    fs::remove_all(root_);
  }
  void chunks(int count) {
    for (int i = 0; i < count; ++i) {
      run_->train();
      run_->save_chunk();
      run_->settle();
    }
  }
  [[nodiscard]] std::string metrics() const { return read_file(run_->folder().metrics("b")); }

  fs::path root_;
  std::unique_ptr<CheckpointRun> run_;
};

TEST_F(CheckpointsOfARun, are_announced_when_they_are_whole_under_their_name) {
  chunks(1);
  std::atomic<bool> held = true;
  run_->on_expect_own([&] {
    while (held) std::this_thread::yield();
  });
  run_->train();
  run_->save_chunk();
  run_->train();  // goes on while the helper thread waits
  run_->checkpoints().poll();

  EXPECT_TRUE(run_->checkpoints().pending());
  EXPECT_EQ(run_->announced().size(), 1u);
  EXPECT_FALSE(fs::exists(run_->checkpoint("a", 1)));
  EXPECT_EQ(metrics(), "{\"chunk\":0}\n");

  held = false;
  run_->settle();

  EXPECT_EQ(run_->announced().size(), 2u);
  EXPECT_EQ(metrics(), "{\"chunk\":0}\n{\"chunk\":1}\n");
  const TrainerMetadata metadata = read_trainer_metadata(run_->checkpoint("a", 1));
  EXPECT_EQ(run_->announced()[1].saes.at("a").state, metadata.state_digest);
  EXPECT_TRUE(export_is_whole(run_->checkpoint("a", 1), metadata.weights_digest));
}

TEST_F(CheckpointsOfARun, hold_the_weights_as_they_were_when_saved) {
  run_->train();
  const std::string saved = weights_digest(run_->saes()[0].state.parameters);
  run_->save_chunk();
  EXPECT_EQ(run_->saes()[0].weights_digest, saved);
  run_->train();
  run_->settle();
  EXPECT_NE(weights_digest(run_->saes()[0]), saved);

  const Checkpoints::Restored restored = run_->start();

  EXPECT_EQ(restored.position.visit, 1u);
  EXPECT_EQ(run_->saes()[0].weights_digest, saved);
  EXPECT_EQ(weights_digest(run_->saes()[0].state.parameters), saved);
}

TEST_F(CheckpointsOfARun, say_on_the_main_thread_what_went_wrong_in_the_helper) {
  run_->on_expect_own([] { throw SystemError("another job took it over"); });
  run_->train();
  run_->save_chunk();

  EXPECT_THROW(run_->settle(), SystemError);

  EXPECT_TRUE(run_->announced().empty());
  EXPECT_FALSE(fs::exists(run_->checkpoint("a", 0)));
}

TEST_F(CheckpointsOfARun, that_no_line_names_are_gone_after_the_next_start) {
  chunks(2);
  run_->on_expect_own([&, calls = 0]() mutable {
    if (++calls > 1) throw SystemError("killed between the folders of two SAEs");
  });
  run_->train();
  run_->save_chunk();
  EXPECT_THROW(run_->settle(), SystemError);
  ASSERT_TRUE(fs::exists(run_->checkpoint("a", 2)));
  run_->on_expect_own([] {});

  const Checkpoints::Restored restored = run_->start();

  EXPECT_EQ(restored.position.visit, 2u);
  EXPECT_FALSE(fs::exists(run_->checkpoint("a", 2)));
  EXPECT_FALSE(fs::exists(part_name(run_->checkpoint("b", 2))));
}

TEST_F(CheckpointsOfARun, that_a_kill_kept_from_the_ledger_are_made_again_to_the_same_bytes) {
  chunks(1);
  const std::string before = metrics();
  run_->train();
  run_->save_chunk();
  while (metrics() == before) std::this_thread::yield();  // the last thing the helper does
  const std::string whole = metrics(), state = read_file(run_->checkpoint("b", 1) / "state.json");
  EXPECT_EQ(run_->announced().size(), 1u);

  const Checkpoints::Restored restored = run_->start();

  EXPECT_EQ(restored.position.visit, 1u);
  EXPECT_EQ(metrics(), before);
  EXPECT_FALSE(fs::exists(run_->checkpoint("b", 1)));
  chunks(1);
  EXPECT_EQ(metrics(), whole);
  EXPECT_EQ(read_file(run_->checkpoint("b", 1) / "state.json"), state);
}

TEST_F(CheckpointsOfARun, that_are_damaged_are_withdrawn_down_to_one_that_is_not) {
  chunks(3);
  const std::string state = read_file(run_->checkpoint("b", 2) / "state.json");
  const fs::path damaged = run_->checkpoint("b", 2) / "trainer_state.safetensors";
  std::string bytes = read_file(damaged);
  bytes[bytes.size() / 2] ^= 0x20;
  write_file(damaged, bytes);

  const Checkpoints::Restored restored = run_->start();

  ASSERT_EQ(restored.withdrawn.size(), 1u);
  EXPECT_EQ(restored.withdrawn[0].record.visit, 2u);
  EXPECT_EQ(restored.position.visit, 2u);
  EXPECT_EQ(metrics(), "{\"chunk\":0}\n{\"chunk\":1}\n") << "the line beyond is cut off";
  chunks(1);
  EXPECT_EQ(read_file(run_->checkpoint("b", 2) / "state.json"), state) << "made again";
}

TEST_F(CheckpointsOfARun, give_back_a_metrics_file_that_was_changed) {
  chunks(4);
  const std::string whole = metrics();
  for (const char* other : {"", "{\"chunk\":0}\n", "{\"chunk\":7}\n"}) {
    write_file(run_->folder().metrics("b"), other);

    run_->start();

    EXPECT_EQ(metrics(), whole) << other;
  }
}

TEST_F(CheckpointsOfARun, within_a_chunk_go_when_there_is_a_newer_one) {
  chunks(1);
  for (int i = 0; i < 2; ++i) {
    run_->train();
    run_->save_within(Checkpoints::Reason::interval);
    run_->settle();
  }
  const fs::path folder = run_->folder().checkpoints("a");
  EXPECT_FALSE(fs::exists(folder / "chunk-000001.step-000001"));
  EXPECT_TRUE(fs::exists(folder / "chunk-000001.step-000002"));
  EXPECT_EQ(run_->start().position.steps_in_visit, 2u);

  chunks(1);

  EXPECT_FALSE(fs::exists(folder / "chunk-000001.step-000002"));
}

TEST_F(CheckpointsOfARun, obey_another_keep_rule_from_the_next_start_on) {
  chunks(6);
  ASSERT_TRUE(fs::exists(run_->checkpoint("a", 0) / "sae_weights.safetensors"));
  run_->config().checkpoint.keep = "every 3";

  run_->start();

  for (std::uint64_t visit = 0; visit < 6; ++visit)
    EXPECT_EQ(fs::exists(run_->checkpoint("a", visit) / "sae_weights.safetensors"),
              visit == 2 || visit >= 4)
        << visit;
}

TEST_F(CheckpointsOfARun, at_a_stop_come_with_the_newest_weights_as_an_export) {
  chunks(1);
  run_->train();
  run_->save_within(Checkpoints::Reason::stop);
  run_->settle();

  EXPECT_TRUE(export_is_whole(run_->folder().latest("a"), weights_digest(run_->saes()[0])));
}

}  // namespace
}  // namespace refract
