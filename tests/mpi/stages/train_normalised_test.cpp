// Training on normalised rows of a chunk, by ranks and by one: from the stored rows to the weights.
#include <gtest/gtest.h>

#include "refract/base/parallel.hpp"
#include "refract/stages/train.hpp"
#include "support/shared_folder.hpp"
#include "support/spaces.hpp"
#include "support/world.hpp"

namespace refract {
namespace {

using test::world;

constexpr const char* kHook = "blocks.0.hook_resid_post";
constexpr std::size_t kDim = 12, kRows = 480, kBlocks = 12, kBlockRows = kRows / kBlocks,
                      kBatch = 96;

void write_rows(const fs::path& file, const Tensor<float>& x) {
  Communicator alone = Communicator::loopback();
  ChunkSpec spec;
  spec.rows = kRows;
  spec.block_rows = kBlockRows;
  spec.hooks = {{kHook, kDim}};
  ChunkWriter writer = ChunkWriter::collective_open(file, spec, alone);
  const std::vector<std::uint8_t> sinks(kBlockRows, 0);
  for (std::size_t block = 0; block < kBlocks; ++block) {
    RowIdentity identity;
    identity.resize(kBlockRows);
    const HookRows rows{x.cview().rows(block * kBlockRows, kBlockRows).span(), sinks};
    writer.write_block(block, identity, {&rows, 1});
  }
  (void)writer.collective_seal();
}

std::vector<SaeConfig> configs() {
  std::vector<SaeConfig> out;
  for (const std::string_view word : normalize_words()) {
    SaeConfig& sae = out.emplace_back();
    sae.name = std::string(word);
    sae.hooks = {kHook};
    sae.d_sae = 130;
    sae.k = 4;
    sae.normalize = std::string(word);
  }
  return out;
}

// Digests of the weights after two passes.
std::vector<std::string> collective_trained(const ChunkReader& chunk,
                                            const CalibrationData& calibration,
                                            Communicator& ranks) {
  TrainConfig config;
  config.batch_rows = kBatch;
  config.passes_per_chunk = 2;
  config.reduction = "ordered";
  std::vector<TrainedSae> saes = make_trained_saes(configs(), calibration, 1000);
  StepRunner runner(config, 10, ranks);
  const SampleOrder order({.chunk_rows = kRows, .block_rows = kBlockRows, .batch_rows = kBatch}, 0);
  (void)collective_train_chunk(
      saes, chunk, {.shape = {.rows = kRows, .block_rows = kBlockRows, .batches = kRows / kBatch}},
      order, config, runner, [](std::uint64_t) { return true; });
  std::vector<std::string> digests;
  for (const TrainedSae& sae : saes) digests.push_back(weights_digest(sae));
  return digests;
}

TEST(TrainNormalised, has_the_bytes_of_one_rank_for_any_number_of_ranks_and_threads) {
  test::SharedFolder folder("train_normalised");
  const Tensor<float> x = test::uneven_rows(kRows, kDim, 5);
  CalibrationData calibration;
  calibration.hooks.push_back(test::calibration_of(kHook, x));
  const ChunkReader chunk(
      folder.collective_file([&](const fs::path& file) { write_rows(file, x); }));
  const int threads = thread_count();
  set_thread_count(2);

  const std::vector<std::string> together = collective_trained(chunk, calibration, world());

  set_thread_count(1);
  Communicator alone = Communicator::loopback();
  const std::vector<std::string> one = collective_trained(chunk, calibration, alone);
  set_thread_count(threads);
  ASSERT_EQ(one.size(), 4U);
  EXPECT_EQ(together, one);
  for (std::size_t i = 1; i < one.size(); ++i) EXPECT_NE(one[i], one[i - 1]);
}

}  // namespace
}  // namespace refract
