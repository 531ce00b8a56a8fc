#include "refract/stages/block_rows.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "refract/base/error.hpp"
#include "refract/base/file.hpp"

namespace refract {
namespace {

constexpr std::size_t kDim = 3;

// Every value of the stream is a function of the token.
class TokenStream final : public LanguageModel {
 public:
  explicit TokenStream(std::function<float(std::uint32_t)> value) : value_(std::move(value)) {
    info_.layers = 1;
    info_.d_model = kDim;
  }
  [[nodiscard]] const ModelInfo& info() const override { return info_; }
  void require(HookPoint) const override {}
  void forward(const PackedTokens& tokens, int, Tap& tap, Stream& stream) const override {
    Tensor<float> values(Shape{tokens.ids.size(), kDim});
    for (std::size_t i = 0; i < tokens.ids.size(); ++i)
      std::ranges::fill(values.row(i), value_(tokens.ids[i]));
    tap.at({0, Site::resid_post}, values.view(), stream);
  }
  void forward_to_unembedding(const PackedTokens&, Tap&, TensorView<float>,
                              Stream&) const override {
    FAIL();
  }
  void unembed(TensorView<const float>, std::size_t, TensorView<float>, Stream&) const override {
    FAIL();
  }

 private:
  std::function<float(std::uint32_t)> value_;
  ModelInfo info_;
};

// One document, "Anarchism", of the tokens 1 to 20 behind BOS 0.
class Rows : public ::testing::Test {
 protected:
  Rows()
      : folder_(fs::path(::testing::TempDir()) /
                (std::string("block_rows_") +
                 ::testing::UnitTest::GetInstance()->current_test_info()->name())),
        corpus_(std::vector<std::uint8_t>(100, 0), 2) {
    fs::remove_all(folder_);
    make_folder(folder_);
    TokenShardData shard;
    shard.vocabulary = 100;
    shard.keep_text = false;
    for (std::uint32_t id = 1; id <= 20; ++id) shard.ids.push_back(id);
    shard.document_token_starts.push_back(shard.ids.size());
    shard.document_key.push_back(7);
    shard.page_id.push_back(12);
    shard.revision.push_back(1);
    for (auto* strings : {&shard.url, &shard.links, &shard.text}) strings->emplace_back();
    shard.title.emplace_back("Anarchism");
    shard.token_begin.assign(shard.ids.size(), 0);
    shard.token_end.assign(shard.ids.size(), 0);
    (void)write_token_shard(folder_ / "tokens.h5", shard, {});
    (void)write_contexts(folder_ / "contexts.h5",
                         build_contexts({.length = 32, .bos_id = 0}, shard.document_token_starts,
                                        std::vector<std::uint8_t>{1}, std::vector<std::uint8_t>{0}),
                         {});
    corpus_.add_shard({folder_ / "tokens.h5", folder_ / "contexts.h5"});
    for (std::uint32_t slot = 0; slot < 32; ++slot) plan_.rows.push_back({0, slot});
    plan_.contexts = {0};
  }
  ~Rows() override { fs::remove_all(folder_); }

  std::string refusal(const std::function<float(std::uint32_t)>& value, DType stored) {
    const TokenStream model(value);
    BlockComputer computer(model, {{0, Site::resid_post}}, corpus_, {1e30}, stored);
    Stream stream;
    try {
      (void)computer.compute(plan_, stream);
    } catch (const NumericalError& error) {
      return error.what();
    }
    return "";
  }

  fs::path folder_;
  TokenCorpus corpus_;
  BlockPlan plan_;
};

TEST_F(Rows, name_hook_token_position_and_document_of_a_value_that_is_not_finite) {
  for (const float bad : {std::numeric_limits<float>::infinity(), -std::nanf("")}) {
    const std::string said =
        refusal([&](std::uint32_t id) { return id == 9 ? bad : 1.0F; }, DType::f32);

    EXPECT_TRUE(said.starts_with("blocks.0.hook_resid_post is ")) << said;
    EXPECT_NE(
        said.find("token 9 at position 9 of its context, in document \"Anarchism\" (page 12)"),
        std::string::npos)
        << said;
  }
}

TEST_F(Rows, say_when_it_is_the_rounding_that_makes_a_value_infinite) {
  const auto largest = [](std::uint32_t id) { return id == 4 ? -3.4e38F : 1.0F; };

  EXPECT_EQ(refusal(largest, DType::f32), "");
  const std::string said = refusal(largest, DType::bf16);
  EXPECT_NE(said.find("token 4 at position 4"), std::string::npos) << said;
  EXPECT_NE(said.find("finite, but bf16 rounds it to infinity. Set store.dtype: fp32."),
            std::string::npos)
      << said;
  // The largest number of bf16 itself, and what rounds down to it.
  EXPECT_EQ(refusal([](std::uint32_t) { return 0x1.fep127F; }, DType::bf16), "");
  EXPECT_EQ(refusal([](std::uint32_t) { return 0x1.fefffep127F; }, DType::bf16), "");
  EXPECT_NE(refusal([](std::uint32_t) { return 0x1.ffp127F; }, DType::bf16), "");
}

}  // namespace
}  // namespace refract
