#include "refract/ops/entries.hpp"

#include <gtest/gtest.h>

#include "support/gpu_entries.hpp"

namespace refract {
namespace {

class EntriesOnGpu : public test::EntriesOnGpu {
 protected:
  // Sorts on both devices; returns how many values were compared.
  std::size_t compare_sorted(const test::EntryLists& entries, std::size_t features,
                             const FeatureEntriesBuffer& there) {
    const test::EntryLists uploaded = upload(entries);
    const std::size_t size = test::size_of(entries);
    const FeatureEntriesBuffer here(features, size, {});

    sort_by_feature(uploaded.view(), there, stream);
    sort_by_feature(entries.view(), here, host);

    const FeatureEntries expected = here.view(), found = there.view();
    const Tensor<std::uint64_t> starts = download(found.starts);
    const Tensor<std::uint32_t> rows = download(found.rows);
    const Tensor<float> values = download(found.values);
    return test::expect_same_bytes(starts.data(), expected.starts.data(), features + 1, "starts") +
           test::expect_same_bytes(rows.data(), expected.rows.data(), size, "rows") +
           test::expect_same_bytes(values.data(), expected.values.data(), size, "values");
  }
};

TEST_F(EntriesOnGpu, are_sorted_by_feature_to_the_bytes_of_the_cpu) {
  std::size_t compared = 0;
  for (const std::size_t n : {0U, 1U, 31U, 32U, 33U, 1023U, 1025U})
    for (const std::size_t features : {1U, 2U, 31U, 33U, 257U}) {
      SCOPED_TRACE(testing::Message() << n << " rows, " << features << " features");
      const test::EntryLists entries = test::drawn_entries(n, features, 1);
      const FeatureEntriesBuffer there(features, test::size_of(entries), gpu);

      compared += compare_sorted(entries, features, there);
    }
  EXPECT_GT(compared, 100'000U);
}

// The block that sorts long lists takes 32,768 rows at a time.
TEST_F(EntriesOnGpu, of_more_rows_than_a_window_are_sorted) {
  const test::EntryLists entries = test::drawn_entries(2 * 32768 + 33, 3, 2);
  const FeatureEntriesBuffer there(3, test::size_of(entries), gpu);

  EXPECT_GT(compare_sorted(entries, 3, there), 90'000U);
}

// The scan takes 8,192 features at a time.
TEST_F(EntriesOnGpu, of_more_features_than_a_tile_are_sorted) {
  const test::EntryLists entries = test::drawn_entries(3, 2 * 8192 + 1, 3);
  const FeatureEntriesBuffer there(2 * 8192 + 1, test::size_of(entries), gpu);

  EXPECT_GT(compare_sorted(entries, 2 * 8192 + 1, there), 15'000U);
}

TEST_F(EntriesOnGpu, are_sorted_again_into_the_same_larger_buffer) {
  const FeatureEntriesBuffer there(40, 10'000, gpu);

  std::size_t compared = 0;
  for (const std::size_t n : {500U, 0U, 70U})
    compared += compare_sorted(test::drawn_entries(n, 40, n), 40, there);

  EXPECT_GT(compared, 1000U);
}

TEST_F(EntriesOnGpu, are_counted_by_feature_beside_the_included_rows) {
  std::size_t compared = 0;
  for (const std::size_t n : {0U, 1U, 31U, 32U, 33U, 1023U, 1025U})
    for (const std::size_t features : {1U, 33U, 257U}) {
      const test::EntryLists entries = test::drawn_entries(n, features, 4),
                             uploaded = upload(entries);
      const Tensor<std::uint8_t> included = test::drawn_flags(n), flags = upload(included);
      const Tensor<std::uint64_t> expected({features + 1});
      std::fill_n(expected.data(), features + 1, std::uint64_t{7});  // an earlier step's
      const Tensor<std::uint64_t> there = upload(expected);

      count_entries(uploaded.view(), flags.cview(), there.view(), stream);
      count_entries(entries.view(), included.cview(), expected.view(), host);

      compared += test::expect_same_bytes(download(there), expected, "counts");
    }
  EXPECT_EQ(compared, 7U * (2 + 34 + 258));
}

}  // namespace
}  // namespace refract
