// A stop asked of one rank ends the calibration on all of them. The request lasts as long as the
// process: a program of its own, with this case alone.
#include <gtest/gtest.h>
#include <unistd.h>

#include <functional>

#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/stop.hpp"
#include "refract/stages/calibrate.hpp"
#include "support/shard_of_ids.hpp"
#include "support/world.hpp"

namespace refract {
namespace {

using test::world;

constexpr std::size_t kDim = 3, kDocuments = 160;
constexpr std::uint32_t kVocabulary = 1000, kLength = 8;

// The stream's values are functions of token and column.
class TokenStream final : public LanguageModel {
 public:
  explicit TokenStream(std::function<void()> called) : called_(std::move(called)) {
    info_.layers = 1;
    info_.d_model = kDim;
  }
  [[nodiscard]] const ModelInfo& info() const override { return info_; }
  void require(HookPoint) const override {}
  void forward(const PackedTokens& tokens, int, Tap& tap, Stream&) const override {
    called_();
    Tensor<float> values(Shape{tokens.ids.size(), kDim});
    for (std::size_t i = 0; i < tokens.ids.size(); ++i)
      for (std::size_t j = 0; j < kDim; ++j)
        values.row(i)[j] = static_cast<float>((tokens.ids[i] + 1) * (j + 1) % 11) + 1;
    tap.at({0, Site::resid_post}, values.view());
  }
  void next_token_nll(const PackedTokens&, Tap&, std::span<float>, Stream&) const override {
    FAIL();
  }

 private:
  std::function<void()> called_;
  ModelInfo info_;
};

// Documents of six tokens, packed into contexts: several rounds on four ranks.
class CalibrateStop : public testing::Test {
 protected:
  CalibrateStop()
      : folder_(fs::path(testing::TempDir()) / fmt::format("calibrate_stop_{}", ::getpid())),
        corpus_(std::vector<std::uint8_t>(kVocabulary, 0), 2) {
    fs::remove_all(folder_);
    make_folder(folder_);
    std::vector<std::vector<std::uint32_t>> documents;
    for (std::uint32_t d = 0; d < kDocuments; ++d)
      documents.push_back({d + 1, d + 2, d + 3, d + 4, d + 5, d + 6});
    const TokenShardData shard = test::shard_of_ids(kVocabulary, documents);
    (void)write_token_shard(folder_ / "tokens.h5", shard, {});
    const ContextTableData table = build_contexts(
        {.length = kLength, .bos_id = 0}, shard.document_token_starts,
        std::vector<std::uint8_t>(kDocuments, 1), std::vector<std::uint8_t>(kDocuments, 0));
    (void)write_contexts(folder_ / "contexts.h5", table, {});
    corpus_.add_shard({folder_ / "tokens.h5", folder_ / "contexts.h5"});
  }
  ~CalibrateStop() override { fs::remove_all(folder_); }

  CalibrationData calibrate(const std::function<void()>& called) {
    const TokenStream model(called);
    return collective_calibrate({}, model, {{0, Site::resid_post}}, corpus_, 1, RowRule{}, 10, 1,
                                world());
  }

  fs::path folder_;
  TokenCorpus corpus_;
};

TEST_F(CalibrateStop, asked_of_one_rank_while_it_computes_ends_it_on_all_of_them) {
  int calls = 0;
  const CalibrationData whole = calibrate([&] { ++calls; });
  ASSERT_EQ(whole.hooks.size(), world().rank() == 0 ? 1U : 0U);
  const bool is_asked = world().rank() == world().size() - 1;
  if (is_asked) {
    ASSERT_GT(calls, 1);
  }

  int calls_before_the_end = 0;
  EXPECT_THROW((void)calibrate([&] {
                 ++calls_before_the_end;
                 if (is_asked) request_stop();
               }),
               StopRequested);

  EXPECT_EQ(calls_before_the_end, 1) << "no rank begins another round";
  EXPECT_EQ(stop_requested(), is_asked);
  int calls_after_it = 0;
  EXPECT_THROW((void)calibrate([&] { ++calls_after_it; }), StopRequested);
  EXPECT_EQ(calls_after_it, is_asked ? 0 : 1);
}

}  // namespace
}  // namespace refract
