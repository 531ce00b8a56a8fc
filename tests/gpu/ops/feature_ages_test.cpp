#include "refract/ops/feature_ages.hpp"

#include <gtest/gtest.h>

#include "refract/ops/step_sums.hpp"
#include "support/gpu_entries.hpp"

namespace refract {
namespace {

using FeatureAgesOnGpu = test::EntriesOnGpu;

// The last is more than two of the tiles that list_dead reads.
constexpr std::size_t kSizes[] = {0, 1, 31, 32, 33, 511, 513, 1023, 1025, 2 * 16384 + 700};

TEST_F(FeatureAgesOnGpu, grow_by_the_rows_of_a_first_pass_and_end_with_a_firing) {
  std::size_t compared = 0;
  for (const std::size_t features : kSizes)
    for (const bool first_pass : {false, true}) {
      const Tensor<std::uint64_t> counts({features + 1}), age({features});
      const CounterRng rng(Purpose::test, {features});
      for (std::size_t f = 0; f < features; ++f) {
        counts.data()[f] = rng.below(f, 3);
        age.data()[f] = rng.bits(f) >> 20;
      }
      counts.data()[features] = 4096;
      const Tensor<std::uint64_t> counts_there = upload(counts), age_there = upload(age);

      update_ages(counts_there.cview(), first_pass, age_there.view(), stream);
      update_ages(counts.cview(), first_pass, age.view(), host);

      compared += test::expect_same_bytes(download(age_there), age, "age");
    }
  EXPECT_EQ(compared, 2U * (1 + 31 + 32 + 33 + 511 + 513 + 1023 + 1025 + 2 * 16384 + 700));
}

TEST_F(FeatureAgesOnGpu, list_the_dead_in_ascending_order_whether_none_or_all_are) {
  constexpr std::uint64_t kNone = 101, kSome = 60, kAll = 0;
  std::size_t listed = 0;
  for (const std::size_t features : kSizes)
    for (const std::uint64_t dead_after : {kNone, kSome, kAll}) {
      const Tensor<std::uint64_t> age({features}), count({1}), count_there({1}, gpu);
      const CounterRng rng(Purpose::test, {features});
      for (std::size_t f = 0; f < features; ++f) age.data()[f] = rng.below(f, 101);
      const Tensor<std::uint32_t> dead({features}), dead_there({features}, gpu);
      const Tensor<std::uint64_t> age_there = upload(age);

      list_dead(age_there.cview(), dead_after, {dead_there.view(), count_there.view()}, stream);
      list_dead(age.cview(), dead_after, {dead.view(), count.view()}, host);

      test::expect_same_bytes(download(count_there), count, "count");
      listed += test::expect_same_bytes(download(dead_there).data(), dead.data(), count.data()[0],
                                        "dead");
      EXPECT_TRUE(dead_after != kNone || count.data()[0] == 0);
      EXPECT_TRUE(dead_after != kAll || count.data()[0] == features);
    }
  EXPECT_GT(listed, 40'000U);
}

TEST_F(FeatureAgesOnGpu, note_how_many_are_dead_among_the_scalars) {
  const Tensor<std::uint64_t> count({1});
  count.data()[0] = 12345;
  const Tensor<std::uint64_t> count_there = upload(count);
  const Tensor<double> scalars({kStepScalars}, gpu);

  note_dead(count_there.cview(), scalars.view(), stream);

  const Tensor<double> found = download(scalars);
  for (std::size_t i = 0; i < kStepScalars; ++i)
    EXPECT_EQ(found.data()[i], i == kDead ? 12345.0 : 0.0);
}

}  // namespace
}  // namespace refract
