#include "refract/ops/batch_top.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

#include "ops/backend.hpp"
#include "ops/cuda_bodies.hpp"
#include "ops/workers.hpp"
#include "refract/base/build_info.hpp"
#include "refract/base/error.hpp"

namespace refract {
namespace {

constexpr std::uint64_t kNothing = 0xFFFFFFFFu;  // above the bits of every number

std::uint32_t bits_of(float value) { return std::bit_cast<std::uint32_t>(value); }

// use(row, value's place) for every candidate, row by row.
template <typename Use>
void for_each(const RowEntries& entries, Use&& use) {
  for (std::size_t row = 0; row < entries.rows(); ++row) {
    const std::uint64_t first = entries.starts.data()[row];
    for (std::uint64_t j = first; j < first + entries.counts.data()[row]; ++j) use(row, j);
  }
}

// Where the `rank`-th largest lies in a histogram: its bucket, and how many of the bucket are among
// them.
struct Place {
  std::size_t bucket = 0;
  std::uint64_t within = 0;
};
Place place_of(const std::uint64_t* histogram, std::uint64_t rank) {
  std::uint64_t left = rank;
  for (std::size_t bucket = kHalfBuckets; bucket-- > 0;) {
    if (histogram[bucket] >= left) return {bucket, left};
    left -= histogram[bucket];
  }
  REFRACT_ASSERT(false, "rank {} of a histogram without so many", rank);
  return {};
}

}  // namespace

void count_high(const RowEntries& candidates, TensorView<const std::uint8_t> included,
                TensorView<const std::uint64_t> unless, TensorView<std::uint64_t> counts,
                Stream& stream) {
  expect_shape(counts, "counts", {{"buckets + 1", kHalfBuckets + 1}});
  if constexpr (has_cuda)
    if (stream.device().kind == DeviceKind::cuda)
      return cuda::count_high(candidates, included, unless, counts, stream);
  expect_cpu(stream, "count_high");
  std::fill_n(counts.data(), counts.size(), std::uint64_t{0});
  if (unless.size() != 0 && unless.data()[0] != 0) return;
  for_each(candidates, [&](std::size_t, std::uint64_t j) {
    ++counts.data()[bits_of(candidates.values.data()[j]) >> 16];
  });
  for (const std::uint8_t flag : included.span()) counts.data()[kHalfBuckets] += flag != 0 ? 1 : 0;
}

void find_high(TensorView<const std::uint64_t> counts, std::size_t k, bool complete,
               TensorView<std::uint64_t> bar, Stream& stream) {
  expect_shape(bar, "bar", {{"bar", kBarValues}});
  if constexpr (has_cuda)
    if (stream.device().kind == DeviceKind::cuda)
      return cuda::find_high(counts, k, complete, bar, stream);
  expect_cpu(stream, "find_high");
  std::uint64_t* to = bar.data();
  if (complete && to[kEnough] != 0) return;
  std::uint64_t kept = 0;
  for (std::size_t bucket = 0; bucket < kHalfBuckets; ++bucket) kept += counts.data()[bucket];
  const std::uint64_t wanted = k * counts.data()[kHalfBuckets];
  to[kEnough] = kept >= wanted || complete ? 1 : 0;
  if (to[kEnough] == 0) return;
  to[kWanted] = std::min(wanted, kept);
  if (to[kWanted] == 0) return;
  const Place place = place_of(counts.data(), to[kWanted]);
  to[kBucket] = place.bucket;
  to[kWithin] = place.within;
}

void count_low(const RowEntries& candidates, TensorView<const std::uint64_t> bar,
               TensorView<std::uint64_t> counts, Stream& stream) {
  expect_shape(counts, "counts", {{"buckets", kHalfBuckets}});
  if constexpr (has_cuda)
    if (stream.device().kind == DeviceKind::cuda)
      return cuda::count_low(candidates, bar, counts, stream);
  expect_cpu(stream, "count_low");
  std::fill_n(counts.data(), counts.size(), std::uint64_t{0});
  if (bar.data()[kWanted] == 0) return;
  for_each(candidates, [&](std::size_t, std::uint64_t j) {
    const std::uint32_t bits = bits_of(candidates.values.data()[j]);
    if (bits >> 16 == bar.data()[kBucket]) ++counts.data()[bits & 0xFFFFu];
  });
}

void find_low(TensorView<const std::uint64_t> counts, TensorView<std::uint64_t> bar,
              Stream& stream) {
  if constexpr (has_cuda)
    if (stream.device().kind == DeviceKind::cuda) return cuda::find_low(counts, bar, stream);
  expect_cpu(stream, "find_low");
  std::uint64_t* to = bar.data();
  to[kBits] = kNothing;
  to[kEquals] = 0;
  if (to[kWanted] == 0) return;
  const Place place = place_of(counts.data(), to[kWithin]);
  to[kBits] = to[kBucket] << 16 | place.bucket;
  to[kEquals] = place.within;
}

void count_equals(const RowEntries& candidates, TensorView<const std::uint64_t> bar,
                  const SliceOrder& order, TensorView<std::uint64_t> counts, Stream& stream) {
  if constexpr (has_cuda)
    if (stream.device().kind == DeviceKind::cuda)
      return cuda::count_equals(candidates, bar, order, counts, stream);
  expect_cpu(stream, "count_equals");
  std::fill_n(counts.data(), counts.size(), std::uint64_t{0});
  if (bar.data()[kWanted] == 0) return;
  for_each(candidates, [&](std::size_t row, std::uint64_t j) {
    if (bits_of(candidates.values.data()[j]) != bar.data()[kBits]) return;
    const std::size_t slice = order.first_slice + row / order.slice_rows;
    ++counts.data()[slice * order.holders + order.holder];
  });
}

void keep_largest(const RowEntries& candidates, TensorView<const std::uint64_t> bar,
                  const SliceOrder& order, TensorView<const std::uint64_t> counts,
                  const RowEntries& kept, Stream& stream) {
  if constexpr (has_cuda)
    if (stream.device().kind == DeviceKind::cuda)
      return cuda::keep_largest(candidates, bar, order, counts, kept, stream);
  expect_cpu(stream, "keep_largest");
  const std::uint64_t bits = bar.data()[kBits], equals = bar.data()[kEquals];
  std::uint64_t at = 0, before = 0, here = 0;  // equals of the slices before, of this one so far
  std::size_t counted = 0;                     // of `counts`, in `before`
  for (std::size_t row = 0; row < candidates.rows(); ++row) {
    if (row % order.slice_rows == 0) {
      const std::size_t slice = order.first_slice + row / order.slice_rows;
      while (counted < slice * order.holders + order.holder) before += counts.data()[counted++];
      here = 0;
    }
    const std::uint64_t first = candidates.starts.data()[row];
    std::uint32_t count = 0;
    kept.starts.data()[row] = at;
    for (std::uint64_t j = first; j < first + candidates.counts.data()[row]; ++j) {
      const float value = candidates.values.data()[j];
      const std::uint32_t found = bits_of(value);
      if (!(found > bits || (found == bits && before + here++ < equals))) continue;
      kept.features.data()[at] = candidates.features.data()[j];
      kept.values.data()[at++] = value;
      ++count;
    }
    kept.counts.data()[row] = count;
  }
  kept.used.data()[0] = at;
}

void follow_bar(TensorView<const std::uint64_t> bar, double rate, TensorView<float> threshold,
                Stream& stream) {
  if constexpr (has_cuda)
    if (stream.device().kind == DeviceKind::cuda)
      return cuda::follow_bar(bar, rate, threshold, stream);
  expect_cpu(stream, "follow_bar");
  if (bar.data()[kWanted] == 0) return;
  const float smallest = std::bit_cast<float>(static_cast<std::uint32_t>(bar.data()[kBits]));
  const auto before = static_cast<double>(threshold.data()[0]);
  const double after = before == 0 ? static_cast<double>(smallest)
                                   : before + rate * (static_cast<double>(smallest) - before);
  std::ranges::fill(threshold.span(), static_cast<float>(after));
}

void keep_merged(TensorView<const float> all_values, TensorView<const std::uint32_t> all_counts,
                 const Merge& merge, const RowEntries& entries, Stream& stream) {
  const std::size_t n = entries.rows(), places = entries.per_row, rank = merge.rank,
                    ranks = all_counts.axis(0);
  expect_shape(all_values, "all_values", {{"R", ranks}, {"n", n}, {"P", places}});
  expect_shape(all_counts, "all_counts", {{"R", ranks}, {"n", n}});
  if constexpr (has_cuda)
    if (stream.device().kind == DeviceKind::cuda)
      return cuda::keep_merged(all_values, all_counts, merge, entries, stream);
  expect_cpu(stream, "keep_merged");
  const auto row_of = [&](std::size_t r, std::size_t row) {
    return all_values.data() + (r * n + row) * places;
  };
  for_each_row(n, [&](std::size_t row) {
    // What stands before an entry: larger ones, and equal ones of lower features.
    const auto size_of = [&](float value) { return merge.by_magnitude ? std::abs(value) : value; };
    const auto before = [&](std::size_t j, float own_value) {
      const float value = size_of(own_value);
      std::size_t count = 0;
      for (std::size_t r = 0; r < ranks; ++r) {
        const float* values = row_of(r, row);
        const std::size_t size = all_counts.data()[r * n + row];
        for (std::size_t i = 0; i < size; ++i) count += size_of(values[i]) > value ? 1 : 0;
        const std::size_t lower = r < rank ? size : r == rank ? j : 0;
        for (std::size_t i = 0; i < lower; ++i) count += size_of(values[i]) == value ? 1 : 0;
      }
      return count;
    };
    const float* own = row_of(rank, row);
    std::uint32_t* features = entries.features.data() + row * places;
    float* values = entries.values.data() + row * places;
    const std::uint32_t size = all_counts.data()[rank * n + row];
    std::uint32_t kept = 0;
    for (std::uint32_t j = 0; j < size; ++j) {
      if (before(j, own[j]) >= merge.k) continue;
      features[kept] = features[j];
      values[kept++] = own[j];
    }
    entries.counts.data()[row] = kept;
  });
}

}  // namespace refract
