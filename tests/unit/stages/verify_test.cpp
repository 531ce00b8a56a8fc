#include "refract/stages/verify.hpp"

#include <gtest/gtest.h>

#include <numeric>

#include <cstring>
#include <filesystem>

#include "refract/base/file.hpp"
#include "refract/base/random.hpp"
#include "support/shard_of_ids.hpp"

namespace refract {
namespace {

constexpr std::size_t kDim = 4;
constexpr std::uint64_t kBlocks = 7, kBlockRows = 10;
constexpr const char* kHook = "blocks.0.hook_resid_post";

// A residual stream that is a function of the token.
class TokenStream final : public LanguageModel {
 public:
  TokenStream() { info_.d_model = kDim; }
  [[nodiscard]] const ModelInfo& info() const override { return info_; }
  void require(HookPoint) const override {}
  void forward(const PackedTokens& tokens, int, Tap& tap, Stream& stream) const override {
    Tensor<float> values(Shape{tokens.ids.size(), kDim});
    for (std::size_t i = 0; i < tokens.ids.size(); ++i)
      for (std::size_t d = 0; d < kDim; ++d)
        values.row(i)[d] = static_cast<float>(tokens.ids[i] * kDim + d);
    tap.at(parse_hook_point(kHook), values.view(), stream);
  }
  void forward_to_unembedding(const PackedTokens&, Tap&, TensorView<float>,
                              Stream&) const override {
    FAIL();
  }
  void unembed(TensorView<const float>, std::size_t, TensorView<float>, Stream&) const override {
    FAIL();
  }

 private:
  ModelInfo info_;
};

// One document of 70 tokens in contexts of 16, and a chunk with a row of each token, in order.
class Verify : public testing::Test {
 protected:
  Verify()
      : folder_(fs::path(testing::TempDir()) / "verify_test"),
        corpus_(std::vector<std::uint8_t>(100, 0), 1),
        computer_(model_, {parse_hook_point(kHook)}, corpus_, {1e9}) {
    remove_all_quietly(folder_);
    make_folder(folder_);
    write_corpus();
    write_chunk();
  }
  ~Verify() override { remove_all_quietly(folder_); }

  void write_corpus() {
    std::vector<std::uint32_t> ids(kBlocks * kBlockRows);
    std::iota(ids.begin(), ids.end(), 0U);
    const TokenShardData shard = test::shard_of_ids(100, {ids});
    (void)write_token_shard(folder_ / "tokens.h5", shard, {});
    (void)write_contexts(
        folder_ / "contexts.h5",
        build_contexts({.length = 16, .bos = BosRule::none}, shard.document_token_starts,
                       std::vector<std::uint8_t>{1}, std::vector<std::uint8_t>{0}),
        {});
    corpus_.add_shard({folder_ / "tokens.h5", folder_ / "contexts.h5"});
  }

  [[nodiscard]] static BlockPlan plan_of(std::uint64_t block) {
    BlockPlan plan;
    for (std::uint64_t row = block * kBlockRows; row < (block + 1) * kBlockRows; ++row) {
      if (plan.contexts.empty() || plan.contexts.back() != row / 16)
        plan.contexts.push_back(row / 16);
      plan.rows.push_back({static_cast<std::uint32_t>(plan.contexts.size() - 1),
                           static_cast<std::uint32_t>(row % 16)});
    }
    return plan;
  }

  void write_chunk() {
    Communicator one = Communicator::loopback();
    ChunkSpec spec;
    spec.rows = kBlocks * kBlockRows;
    spec.block_rows = kBlockRows;
    spec.hooks = {{kHook, kDim}};
    ChunkWriter writer = ChunkWriter::collective_open(folder_ / "chunk.h5", spec, one);
    Stream stream;
    for (std::uint64_t block = 0; block < kBlocks; ++block) {
      const BlockRows rows = computer_.compute(plan_of(block), stream);
      const HookRows hook{rows.activations[0].span(), rows.sinks[0]};
      writer.write_block(block, rows.identity, {&hook, 1});
    }
    (void)writer.collective_seal();
  }

  [[nodiscard]] VerifyResult verify(VerifyShare share) {
    VerifyResult result;
    verify_chunk(ChunkReader(folder_ / "chunk.h5"), plan_of, corpus_, computer_,
                 {.recomputed_rows = 4 * kBlockRows, .seed = 1}, share, result);
    return result;
  }

  [[nodiscard]] VerifyResult verify_on(int ranks) {
    VerifyResult sum;
    for (int rank = 0; rank < ranks; ++rank) sum.add(verify({rank, ranks}));
    return sum;
  }

  // The bytes of one value of one row.
  void change_a_value(std::uint64_t row) {
    const fs::path file = folder_ / "chunk.h5";
    std::string bytes = read_file(file);
    float value = static_cast<float>(row * kDim);
    const float next = value + 1;
    std::string pattern(2 * sizeof value, '\0');
    std::memcpy(pattern.data(), &value, sizeof value);
    std::memcpy(pattern.data() + sizeof value, &next, sizeof next);
    const std::size_t at = bytes.find(pattern);
    ASSERT_NE(at, std::string::npos);
    bytes[at] ^= 1;
    write_file(file, bytes);
  }

  fs::path folder_;
  TokenCorpus corpus_;
  TokenStream model_;
  BlockComputer computer_;
};

TEST_F(Verify, does_everything_once_on_any_number_of_ranks) {
  const VerifyResult alone = verify({});

  EXPECT_TRUE(alone.faults.empty()) << alone.faults.front();
  EXPECT_EQ(alone.blocks, kBlocks);
  EXPECT_EQ(alone.identities, kBlocks * kBlockRows);
  EXPECT_EQ(alone.recomputed_rows, 4 * kBlockRows);
  for (const int ranks : {2, 3, 4, 9}) {
    const VerifyResult together = verify_on(ranks);
    EXPECT_EQ(together.blocks, alone.blocks) << ranks;
    EXPECT_EQ(together.identities, alone.identities) << ranks;
    EXPECT_EQ(together.recomputed_rows, alone.recomputed_rows) << ranks;
    EXPECT_LT(verify({0, ranks}).identities, alone.identities) << ranks;
    EXPECT_LT(verify({0, ranks}).recomputed_rows, alone.recomputed_rows) << ranks;
  }
}

TEST_F(Verify, finds_a_changed_byte_once_whoever_has_the_block) {
  change_a_value(45);  // block 4

  for (const int ranks : {1, 3}) {
    const VerifyResult result = verify_on(ranks);
    ASSERT_EQ(result.faults.size(), 1u) << ranks;
    EXPECT_NE(result.faults[0].find("chunk.h5: the checksum of block 4"), std::string::npos)
        << result.faults[0];
    EXPECT_EQ(result.blocks, kBlocks);
  }
}

TEST_F(Verify, finds_rows_that_are_not_the_planned_ones_once) {
  VerifyResult result;
  const auto shifted = [](std::uint64_t block) {
    BlockPlan plan = plan_of(block);
    if (block == 2) std::swap(plan.rows[3], plan.rows[4]);
    return plan;
  };

  for (int rank = 0; rank < 3; ++rank) {
    VerifyResult share;
    verify_chunk(ChunkReader(folder_ / "chunk.h5"), shifted, corpus_, computer_,
                 {.recomputed_rows = 0}, {rank, 3}, share);
    result.add(share);
  }

  ASSERT_EQ(result.faults.size(), 1u);
  EXPECT_NE(result.faults[0].find("the identity of row 23 is not"), std::string::npos)
      << result.faults[0];
}

}  // namespace
}  // namespace refract
