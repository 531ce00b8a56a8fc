// The CUDA bodies of batch_top against those of the CPU: integers, so equal bytes throughout.
#include "refract/ops/batch_top.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "support/gpu.hpp"
#include "support/row_entries.hpp"

namespace refract {
namespace {

using test::copied_to;
using test::EntryLists;
using test::EntryRow;
using test::host_values;

using BatchTopOnGpu = test::OnGpu;

// Few values, so that the bar has many equals; some share a high half, one is subnormal.
std::vector<EntryRow> tied_rows(std::size_t n, std::size_t features, std::uint64_t seed) {
  constexpr float kValues[] = {0.5F, 1.0F, 1.0000001F, 1.0000002F, 1.0078125F, 3.0F, 1e-40F};
  std::vector<EntryRow> rows = test::random_rows(n, features, 0.4, seed);
  std::size_t i = 0;
  const CounterRng rng(Purpose::test, {seed, 3});
  for (EntryRow& row : rows)
    for (auto& entry : row) entry.second = kValues[rng.below(i++, std::size(kValues))];
  return rows;
}

struct Problem {
  std::vector<EntryRow> rows;
  std::vector<std::uint8_t> included;  // of the rows, or none where another tile counts them
  std::size_t k = 1;
  SliceOrder order;
  std::size_t slots = 1;
  std::uint64_t more_rows = 0;         // included rows of other ranks, of which the values are
  std::vector<EntryRow> other_rows{};  // these, in the slots before the own one's
};

struct Selection {
  std::vector<std::uint64_t> high, bar_of_high, low, bar, equals;
  std::vector<EntryRow> kept;
  std::uint64_t used = 0;
  std::size_t kept_entries = 0;
};

// What the stage does between the calls, with the counts of `other_rows`.
Selection select(const Problem& problem, Device device) {
  Stream stream(device);
  const EntryLists candidates = test::entry_lists(problem.rows, 0, device, stream),
                   others = test::entry_lists(problem.other_rows, 0, device, stream);
  std::size_t entries = 0;
  for (const EntryRow& row : problem.rows) entries += row.size();
  const EntryLists kept(problem.rows.size(), 0, entries, device, stream);
  const Tensor<std::uint8_t> included = copied_to(problem.included, device, stream);
  const std::vector<std::uint64_t> garbage(kHalfBuckets + 1, 77);
  const auto summed = [&](std::size_t size, auto&& count) {
    Tensor<std::uint64_t> own = copied_to(garbage, device, stream),
                          other = copied_to(garbage, device, stream);
    count(candidates, own.view().rows(0, size), true);
    count(others, other.view().rows(0, size), false);
    std::vector<std::uint64_t> sum = host_values(own, stream), more = host_values(other, stream);
    sum.resize(size);
    for (std::size_t i = 0; i < size; ++i) sum[i] += more[i];
    return sum;
  };
  Selection out;
  const Tensor<std::uint64_t> bar =
      copied_to(std::vector<std::uint64_t>(kBarValues, 0), device, stream);
  out.high = summed(kHalfBuckets + 1, [&](const EntryLists& list, auto counts, bool own) {
    count_high(list.view(), own ? included.cview() : TensorView<const std::uint8_t>(), {}, counts,
               stream);
  });
  out.high[kHalfBuckets] += problem.more_rows;
  find_high(copied_to(out.high, device, stream).cview(), problem.k, true, bar.view(), stream);
  out.bar_of_high = host_values(bar, stream);
  out.low = summed(kHalfBuckets, [&](const EntryLists& list, auto counts, bool) {
    count_low(list.view(), bar.cview(), counts, stream);
  });
  find_low(copied_to(out.low, device, stream).cview(), bar.view(), stream);
  out.bar = host_values(bar, stream);
  out.equals = summed(problem.slots, [&](const EntryLists& list, auto counts, bool own) {
    SliceOrder order = problem.order;
    if (!own) order.holder = 0, order.first_slice = 0, order.slice_rows = list.counts.size() + 1;
    count_equals(list.view(), bar.cview(), order, counts, stream);
  });
  const Tensor<std::uint64_t> equals = copied_to(out.equals, device, stream);
  keep_largest(candidates.view(), bar.cview(), problem.order, equals.cview(), kept.view(), stream);
  out.kept = test::rows_of(kept, stream);
  out.used = host_values(kept.used, stream)[0];
  for (const EntryRow& row : out.kept) out.kept_entries += row.size();
  return out;
}

std::size_t expect_same(const Problem& problem, Device gpu) {
  const Selection found = select(problem, gpu), expected = select(problem, {});
  EXPECT_TRUE(test::same_bytes(found.high, expected.high));
  EXPECT_EQ(found.bar_of_high, expected.bar_of_high);
  EXPECT_TRUE(test::same_bytes(found.low, expected.low));
  EXPECT_EQ(found.bar, expected.bar);
  EXPECT_EQ(found.equals, expected.equals);
  EXPECT_EQ(found.used, expected.used);
  EXPECT_EQ(found.used, found.kept_entries);
  return test::expect_same_rows(found.kept, expected.kept);
}

TEST_F(BatchTopOnGpu, keeps_what_the_cpu_keeps_of_rows_with_many_ties) {
  std::size_t kept = 0;
  for (const std::size_t n : {0U, 1U, 31U, 33U, 72U})
    for (const std::size_t k : {1U, 5U, 50U}) {
      Problem problem{.rows = tied_rows(n, n == 33 ? 71 : 20, n + k),
                      .included = std::vector<std::uint8_t>(n, 1),
                      .k = k,
                      .order = {.slice_rows = n == 72 ? 8U : std::max<std::size_t>(1, n)},
                      .slots = 9};
      for (std::size_t i = 0; i < n; i += 5) problem.included[i] = 0, problem.rows[i].clear();
      kept += expect_same(problem, gpu);
    }
  EXPECT_GT(kept, 1000U);
}

TEST_F(BatchTopOnGpu, leaves_ties_to_lower_slices_and_holders_as_the_cpu_does) {
  std::size_t kept = 0;
  for (const std::size_t k : {1U, 3U, 6U}) {
    Problem problem{.rows = tied_rows(48, 20, k),
                    .included = {},
                    .k = k,
                    .order = {.slice_rows = 16, .first_slice = 1, .holder = 1, .holders = 2},
                    .slots = 8,
                    .more_rows = 60,
                    .other_rows = tied_rows(40, 20, k + 9)};
    kept += expect_same(problem, gpu);
  }
  EXPECT_GT(kept, 100U);
}

TEST_F(BatchTopOnGpu, keeps_nothing_where_nothing_is_positive) {
  const Problem problem{.rows = std::vector<EntryRow>(40),
                        .included = std::vector<std::uint8_t>(40, 1),
                        .k = 4,
                        .order = {.slice_rows = 8},
                        .slots = 5};

  const Selection found = select(problem, gpu);

  expect_same(problem, gpu);
  EXPECT_EQ(found.bar[kWanted], 0U);
  EXPECT_EQ(found.bar[kBits], 0xFFFFFFFFU);
  EXPECT_EQ(found.used, 0U);
}

TEST_F(BatchTopOnGpu, finds_every_rank_of_a_histogram_from_its_first_bucket_to_its_last) {
  Stream host;
  std::vector<std::uint64_t> counts(kHalfBuckets + 1, 0);
  for (const std::size_t bucket : {0U, 1U, 2047U, 2048U, 2049U, 32767U, 65534U, 65535U})
    counts[bucket] = 1 + bucket % 3;
  counts[16256] = std::uint64_t{5} << 33;
  std::uint64_t total = 0;
  for (const std::uint64_t count : counts) total += count;
  for (const std::uint64_t rank :
       {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{2}, std::uint64_t{3}, std::uint64_t{4},
        std::uint64_t{1} << 33, total - 6, total - 3, total - 2, total - 1, total, total + 1}) {
    counts[kHalfBuckets] = rank;
    for (const bool complete : {true, false}) {
      const std::vector<std::uint64_t> before(kBarValues, 0);
      const Tensor<std::uint64_t> here = copied_to(before, {}, host),
                                  there = copied_to(before, gpu, stream);
      find_high(copied_to(counts, {}, host).cview(), 1, complete, here.view(), host);
      find_high(copied_to(counts, gpu, stream).cview(), 1, complete, there.view(), stream);
      EXPECT_EQ(host_values(there, stream), host_values(here, host)) << "rank " << rank;
    }
  }
}

TEST_F(BatchTopOnGpu, looks_again_only_where_the_first_look_was_not_enough) {
  for (const std::uint64_t enough : {std::uint64_t{0}, std::uint64_t{1}}) {
    const EntryLists list = test::entry_lists(tied_rows(40, 30, 5), 0, gpu, stream);
    const Tensor<std::uint8_t> included = copied_to(std::vector<std::uint8_t>(40, 1), gpu, stream);
    std::vector<std::uint64_t> before(kBarValues, 9);
    before[kEnough] = enough;
    const Tensor<std::uint64_t> bar = copied_to(before, gpu, stream);
    const Tensor<std::uint64_t> counts =
        copied_to(std::vector<std::uint64_t>(kHalfBuckets + 1, 7), gpu, stream);

    count_high(list.view(), included.cview(), bar.view().rows(kEnough, 1), counts.view(), stream);
    find_high(counts.cview(), 2, true, bar.view(), stream);

    const std::vector<std::uint64_t> sums = host_values(counts, stream),
                                     after = host_values(bar, stream);
    EXPECT_EQ(sums[kHalfBuckets], enough != 0 ? 0U : 40U);
    EXPECT_EQ(after == before, enough != 0);
    EXPECT_EQ(after[kWanted], enough != 0 ? 9U : 80U);
  }
}

TEST_F(BatchTopOnGpu, moves_the_threshold_as_the_cpu_does) {
  Stream host;
  for (const std::size_t features : {0U, 1U, 31U, 1025U})
    for (const float before : {0.0F, 0.37F})
      for (const std::uint64_t wanted : {std::uint64_t{0}, std::uint64_t{3}}) {
        std::vector<std::uint64_t> bar(kBarValues, 0);
        bar[kWanted] = wanted;
        bar[kBits] = 0x3F9E0419U;
        const std::vector<float> threshold(features, before);
        const Tensor<float> here = copied_to(threshold, {}, host),
                            there = copied_to(threshold, gpu, stream);
        if (features != 0) follow_bar(copied_to(bar, {}, host).cview(), 0.013, here.view(), host);
        follow_bar(copied_to(bar, gpu, stream).cview(), 0.013, there.view(), stream);
        EXPECT_TRUE(test::same_bytes(host_values(there, stream), host_values(here, host)));
      }
}

TEST_F(BatchTopOnGpu, keeps_of_a_row_dealt_to_three_what_the_cpu_keeps) {
  Stream host;
  std::size_t compared = 0;
  for (const std::size_t k : {1U, 31U, 32U, 33U, 70U})
    for (const std::size_t n : {0U, 1U, 20U}) {
      constexpr std::size_t kRanks = 3;
      std::vector<std::vector<EntryRow>> of_rank;
      std::vector<float> values(kRanks * n * k, 1e30F);
      std::vector<std::uint32_t> counts(kRanks * n);
      for (std::size_t r = 0; r < kRanks; ++r) {
        of_rank.push_back(tied_rows(n, 3 * k, k + r));
        for (std::size_t i = 0; i < n; ++i) {
          EntryRow& row = of_rank[r][i];
          row.resize(std::min(row.size(), k));
          counts[r * n + i] = static_cast<std::uint32_t>(row.size());
          for (std::size_t j = 0; j < row.size(); ++j) {
            if (j % 3 == 1) row[j].second = -row[j].second;
            values[(r * n + i) * k + j] = row[j].second;
          }
        }
      }
      for (std::size_t r = 0; r < kRanks; ++r) {
        const Merge merge{r, r == 1 ? k : k - k / 3, r == 2};
        const auto keep = [&](Device device) {
          Stream on(device);
          const EntryLists own = test::entry_lists(of_rank[r], k, device, on);
          const Tensor<float> all = copied_to(values, device, on);
          const Tensor<std::uint32_t> all_counts = copied_to(counts, device, on);
          keep_merged({all.data(), Shape{kRanks, n, k}, device},
                      {all_counts.data(), Shape{kRanks, n}, device}, merge, own.view(), on);
          return test::rows_of(own, on);
        };
        compared += test::expect_same_rows(keep(gpu), keep({}));
      }
    }
  EXPECT_GT(compared, 1000U);
}

}  // namespace
}  // namespace refract
