// What a splice costs, its forward batches divided over ranks, is what one rank finds: to the last
// digit, whoever has a model.
#include "refract/stages/spliced_loss.hpp"

#include <gtest/gtest.h>

#include "support/moved_stream.hpp"
#include "support/shifted.hpp"
#include "support/world.hpp"

namespace refract {
namespace {

using test::MovedStream;
using test::Shifted;
using test::world;

TEST(SplicedLossTogether, gives_the_report_of_one_rank_whoever_has_a_model) {
  test::MovedStreamCorpus data(fmt::format("spliced_loss_{}", world().rank()), 40);  // 5 calls
  const HookCalibration& hook = data.calibration().of(MovedStream::kHook);
  TokenCorpus none(std::vector<std::uint8_t>(MovedStream::kVocabulary, 0), 1);
  TokenCorpus& corpus = world().rank() == 0 ? data.corpus() : none;  // read on rank 0 alone
  const auto report_of = [&](const LanguageModel* model, TokenCorpus& from, Communicator& ranks) {
    SharedStop stop(ranks);
    Shifted sae(0.3F);
    const SplicedLoss loss = SplicedLoss::collective_without_sae(
        model, from, data.heldout(), {hook, hook}, 100000, 1, stop, ranks);
    return loss.collective_report(sae, "small", stop, ranks);
  };
  const int last = world().size() - 1;
  Communicator alone = Communicator::loopback();
  const MovedStream only;
  const MetricReport one = report_of(&only, data.corpus(), alone);
  ASSERT_GT(only.runs(), 4 * 4);

  std::size_t compared = 0;
  for (const int without : {-1, 0, last}) {
    if (without == last && last == 0) continue;
    const MovedStream model;
    const bool has_model = without != world().rank();

    const MetricReport together = report_of(has_model ? &model : nullptr, corpus, world());

    EXPECT_EQ(model.runs() > 0, has_model);
    EXPECT_LT(model.runs(), world().size() > 2 ? only.runs() : only.runs() + 1);
    ++compared;
    if (world().rank() != 0) {
      EXPECT_TRUE(together.values.empty());
      continue;
    }
    EXPECT_EQ(together.rows, one.rows);
    EXPECT_EQ(together.documents, one.documents);
    ASSERT_EQ(together.values.size(), 12U);
    for (std::size_t i = 0; i < one.values.size(); ++i) {
      EXPECT_EQ(together.values[i].name, one.values[i].name);
      EXPECT_EQ(together.values[i].value, one.values[i].value) << one.values[i].name;
      EXPECT_EQ(together.values[i].low, one.values[i].low) << one.values[i].name;
      EXPECT_EQ(together.values[i].high, one.values[i].high) << one.values[i].name;
    }
  }
  EXPECT_EQ(compared, last == 0 ? 1U : 3U);
}

}  // namespace
}  // namespace refract
