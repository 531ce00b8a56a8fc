#pragma once
// The K largest candidates of a whole batch, exactly, whoever holds its rows: values are counted by
// their bits (positive floats order as integers), the high 16 first. Counts are integers, summed
// over ranks between the calls. Ties at the last value go to the lower slice, holder and row, then
// the lower feature.
//
//   count_high   -> [sum over ranks] -> find_high      the bucket that holds the K-th largest
//   count_low    -> [sum over ranks] -> find_low       its value, the bar
//   count_equals -> [sum over ranks] -> keep_largest   the entries that are kept
#include "refract/ops/entries.hpp"

namespace refract {

inline constexpr std::size_t kHalfBuckets = std::size_t{1} << 16;

// Of one SAE, on the device.
enum BarValue : std::size_t {
  kEnough,  // 1: the candidates above the floor are at least K, so no second look is needed
  kWanted,  // how many are to be kept: K, or as many as are positive
  kBucket,  // high half of the bar
  kWithin,  // how many of that bucket are kept
  kBits,    // of the bar; all ones when nothing is kept
  kEquals,  // how many of those equal to the bar are kept
  kBarValues
};

// counts [kHalfBuckets + 1]: high halves of the candidates' values, then included rows. With
// `unless` [1] given and not 0 all counts are 0.
void count_high(const RowEntries& candidates, TensorView<const std::uint8_t> included,
                TensorView<const std::uint64_t> unless, TensorView<std::uint64_t> counts,
                Stream& stream);
// K = k * included rows. complete: the candidates are all positive values, so fewer are all there
// are; else kEnough may become 0, and with kEnough 1 from before a second call changes nothing.
void find_high(TensorView<const std::uint64_t> counts, std::size_t k, bool complete,
               TensorView<std::uint64_t> bar, Stream& stream);
// counts [kHalfBuckets]: low halves of the candidates in the bar's bucket.
void count_low(const RowEntries& candidates, TensorView<const std::uint64_t> bar,
               TensorView<std::uint64_t> counts, Stream& stream);
void find_low(TensorView<const std::uint64_t> counts, TensorView<std::uint64_t> bar,
              Stream& stream);
// counts [slices * holders], zeroed: candidates equal to the bar, in (slice, holder); the tile's
// row 0 is of first_slice.
struct SliceOrder {
  std::size_t slice_rows = 1, first_slice = 0, holder = 0, holders = 1;
};
void count_equals(const RowEntries& candidates, TensorView<const std::uint64_t> bar,
                  const SliceOrder& order, TensorView<std::uint64_t> counts, Stream& stream);
void keep_largest(const RowEntries& candidates, TensorView<const std::uint64_t> bar,
                  const SliceOrder& order, TensorView<const std::uint64_t> counts,
                  const RowEntries& kept, Stream& stream);

// threshold [F], one value for all: the exponential mean, of rate `rate`, of the bars; it begins as
// the first. Nothing changes when nothing was kept.
void follow_bar(TensorView<const std::uint64_t> bar, double rate, TensorView<float> threshold,
                Stream& stream);

// Where features are dealt to ranks: keeps of a row's own entries those that are among the k
// largest of all ranks'. all_values [R, n, P], all_counts [R, n]: every rank's, in the order of
// their features, P = entries.per_row; own = all_*[rank]. Ties go to the lower rank, then the lower
// feature.
struct Merge {
  std::size_t rank = 0;
  std::size_t k = 0;  // at most P
  bool by_magnitude = false;
};
void keep_merged(TensorView<const float> all_values, TensorView<const std::uint32_t> all_counts,
                 const Merge& merge, const RowEntries& entries, Stream& stream);

}  // namespace refract
