// What a step refuses to train on, and whom it blames.
#include "refract/stages/train.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/random.hpp"
#include "support/spaces.hpp"
#include "support/two_hooks.hpp"

namespace refract {
namespace {

constexpr const char* kHook = "blocks.0.hook_resid_post";
constexpr std::size_t kDim = 8, kRows = 64;

SaeConfig sae_config(const std::string& name) {
  return {.name = name, .hooks = {kHook}, .d_sae = 32, .k = 4};
}

class TrainChunk : public ::testing::Test {
 protected:
  TrainChunk()
      : folder_(fs::path(::testing::TempDir()) /
                (std::string("train_") +
                 ::testing::UnitTest::GetInstance()->current_test_info()->name())),
        one_(Communicator::loopback()),
        activations_(kRows * kDim),
        sinks_(kRows, 0) {
    fs::remove_all(folder_);
    make_folder(folder_);
    const CounterRng rng(Purpose::test, {11});
    for (std::size_t i = 0; i < activations_.size(); ++i)
      activations_[i] = static_cast<float>(rng.normal(i));
    config_.batch_rows = 16;
    config_.passes_per_chunk = 2;
    HookCalibration& hook = calibration_.hooks.emplace_back();
    hook.hook = kHook;
    hook.d_in = kDim;
    hook.mean_norm = std::sqrt(double{kDim});
    hook.geometric_median.assign(kDim, 0.0F);
  }
  ~TrainChunk() override { fs::remove_all(folder_); }

  // The trained SAEs after one visit to a chunk of activations_ and sinks_.
  std::vector<TrainedSae> trained(const std::vector<SaeConfig>& saes) {
    ChunkSpec spec;
    spec.rows = kRows;
    spec.block_rows = 16;
    spec.hooks = {{kHook, kDim}};
    ChunkWriter writer = ChunkWriter::collective_open(folder_ / "chunk.h5", spec, one_);
    for (std::size_t block = 0; block < 4; ++block) {
      RowIdentity identity;
      identity.resize(16);
      const HookRows rows{std::span(activations_).subspan(block * 16 * kDim, 16 * kDim),
                          std::span(sinks_).subspan(block * 16, 16)};
      writer.write_block(block, identity, {&rows, 1});
    }
    (void)writer.collective_seal();
    const ChunkReader chunk(folder_ / "chunk.h5");
    const SampleOrder order({.chunk_rows = kRows, .block_rows = 16, .batch_rows = 16}, 0);
    std::vector<TrainedSae> made = make_trained_saes(saes, calibration_, 1000);
    StepRunner runner(config_, 8, one_);
    (void)collective_train_chunk(made, chunk,
                                 {.shape = {.rows = kRows, .block_rows = 16, .batches = 4}}, order,
                                 config_, runner, [](std::uint64_t) { return true; });
    return made;
  }
  std::string refusal() {
    try {
      (void)trained({sae_config("a")});
    } catch (const NumericalError& error) {
      return error.what();
    }
    return "";
  }

  fs::path folder_;
  Communicator one_;
  std::vector<float> activations_;
  std::vector<std::uint8_t> sinks_;
  TrainConfig config_;
  CalibrationData calibration_;
};

TEST_F(TrainChunk, counts_distinct_included_rows_as_trained_on) {
  for (std::size_t row = 0; row < kRows; row += 4) sinks_[row] = kExcludedSink;

  const std::vector<TrainedSae> made = trained({sae_config("a")});

  EXPECT_EQ(made[0].state.step, 8U);
  EXPECT_EQ(made[0].state.trained_rows, 48U);  // of 64, and in the first of two passes alone
}

TEST_F(TrainChunk, gives_each_sae_its_own_scale_and_optimizer) {
  SaeConfig plain = sae_config("plain"), raw = sae_config("raw"), slow = sae_config("slow");
  raw.normalize = "none";
  slow.optimizer.lr = 1e-9;
  calibration_.hooks[0].mean_norm *= 4;

  const std::vector<TrainedSae> together = trained({plain, raw, slow});

  EXPECT_EQ(together[0].spaces().input->affine().factor, 0.25);
  EXPECT_EQ(together[1].spaces().input->affine().factor, 1);
  const std::vector<SaeConfig> configs{plain, raw, slow};
  for (std::size_t i = 0; i < configs.size(); ++i) {
    const std::vector<TrainedSae> alone = trained({configs[i]});
    EXPECT_TRUE(std::ranges::equal(alone[0].state.parameters.W_enc.span(),
                                   together[i].state.parameters.W_enc.span()))
        << configs[i].name;
  }
  EXPECT_FALSE(std::ranges::equal(together[0].state.parameters.W_enc.span(),
                                  together[1].state.parameters.W_enc.span()));
  EXPECT_FALSE(std::ranges::equal(together[0].state.parameters.W_enc.span(),
                                  together[2].state.parameters.W_enc.span()));
}

TEST_F(TrainChunk, of_normalised_rows_does_not_depend_on_what_is_kept_in_memory) {
  Tensor<float> x(Shape{kRows, kDim});
  std::ranges::copy(activations_, x.data());
  calibration_.hooks[0] = test::calibration_of(kHook, x);
  for (const char* word : {"layer_norm", "whiten"}) {
    SaeConfig config = sae_config(word);
    config.normalize = word;
    const std::string kept = weights_digest(trained({config})[0]);
    config_.cache_bytes = 0;
    EXPECT_EQ(weights_digest(trained({config})[0]), kept) << word;
    config_.cache_bytes = std::uint64_t{8} << 30;
    config.normalize = "none";
    EXPECT_NE(weights_digest(trained({config})[0]), kept) << word;
  }
}

TEST_F(TrainChunk, blames_an_input_that_is_not_finite_on_its_row) {
  for (const std::uint64_t cache : {std::uint64_t{0}, std::uint64_t{1} << 20}) {
    config_.cache_bytes = cache;
    activations_[37 * kDim + 5] = std::numeric_limits<float>::infinity();

    EXPECT_NE(refusal().find("blocks.0.hook_resid_post in column 5 of row 37 is inf"),
              std::string::npos)
        << refusal();
    EXPECT_EQ(refusal().find("optimizer.lr"), std::string::npos);
  }
}

TEST_F(TrainChunk, says_when_every_row_is_excluded) {
  std::ranges::fill(sinks_, kExcludedSink);

  EXPECT_NE(refusal().find("all 64 rows of blocks.0.hook_resid_post are excluded"),
            std::string::npos)
      << refusal();
}

TEST_F(TrainChunk, blames_an_overflow_before_any_update_on_the_input) {
  for (float& value : activations_) value *= 1e30F;

  EXPECT_NE(refusal().find("overflows fp32 at step 0"), std::string::npos) << refusal();
  EXPECT_NE(refusal().find("It is the input: set normalize"), std::string::npos);
  EXPECT_EQ(refusal().find("optimizer.lr"), std::string::npos);
}

TEST_F(TrainChunk, blames_an_overflow_after_updates_on_the_learning_rate) {
  SaeConfig wild = sae_config("wild");
  wild.optimizer = {.lr = 1e25, .warmup = 0, .decay = 0};
  std::string said;
  try {
    (void)trained({wild});
  } catch (const NumericalError& error) {
    said = error.what();
  }

  EXPECT_NE(said.find("SAE 'wild': the gradient overflows fp32 at step "), std::string::npos)
      << said;
  EXPECT_NE(said.find("lower optimizer.lr of this SAE (now 1e+25)"), std::string::npos) << said;
}

// Whichever batch of the pass the row is in: its place follows from the seed.
TEST_F(TrainChunk, blames_one_row_that_is_too_large_on_the_input_at_any_step) {
  config_.clip = 0;
  for (std::size_t d = 0; d < kDim; ++d) activations_[20 * kDim + d] = 1e25F;
  const std::string said = refusal();

  EXPECT_NE(said.find("It is the input"), std::string::npos) << said;
  EXPECT_EQ(said.find("optimizer.lr"), std::string::npos) << said;
  sinks_[20] = kExcludedSink;  // as a lower rows.sink_ratio makes it
  EXPECT_EQ(refusal(), "");
}

// Of two hooks of 48 and 96 bytes: both are kept, none, or one could be where the other cannot.
TEST(TrainTwoHooks, does_not_depend_on_what_is_kept_in_memory) {
  const std::string narrow = "blocks.0.hook_mlp_out", wide = "blocks.1.ln2.hook_normalized";
  ChunkSpec spec;
  spec.hooks = {{narrow, 2}, {wide, 4}};
  const ChunkReader chunk(test::written_two_hooks("refract_train_two_hooks.h5", spec));
  constexpr std::size_t kAll = test::kTwoHooksRows;
  CalibrationData calibration;
  for (const HookColumn& column : spec.hooks) {
    HookCalibration& hook = calibration.hooks.emplace_back();
    hook.hook = column.name;
    hook.d_in = column.d_in;
    hook.mean_norm = 100;
    hook.geometric_median.assign(column.d_in, 0.0F);
  }
  const SaeConfig both{.name = "both", .hooks = {narrow, wide}, .d_sae = 32, .k = 4};
  const SampleOrder order({.chunk_rows = kAll, .block_rows = kAll, .batch_rows = 2}, 0);
  Communicator one = Communicator::loopback();
  const auto digest_of = [&](std::uint64_t cache_bytes) {
    TrainConfig config;
    config.batch_rows = 2;
    config.cache_bytes = cache_bytes;
    std::vector<TrainedSae> made = make_trained_saes({both}, calibration, 1000);
    StepRunner runner(config, 6, one);
    (void)collective_train_chunk(made, chunk,
                                 {.shape = {.rows = kAll, .block_rows = kAll, .batches = 3}}, order,
                                 config, runner, [](std::uint64_t) { return true; });
    EXPECT_GT(made[0].state.trained_rows, 0U);
    return weights_digest(made[0]);
  };
  const std::string untrained = weights_digest(make_trained_saes({both}, calibration, 1000)[0]);

  const std::string kept = digest_of(144);

  EXPECT_NE(kept, untrained);
  EXPECT_EQ(digest_of(0), kept);
  EXPECT_EQ(digest_of(100), kept);
}

}  // namespace
}  // namespace refract
