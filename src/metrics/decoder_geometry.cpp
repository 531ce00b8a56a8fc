#include "refract/metrics/decoder_geometry.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "refract/base/error.hpp"
#include "refract/base/parallel.hpp"
#include "refract/metrics/quantile.hpp"
#include "refract/tensor/dot.hpp"

namespace refract {
namespace {

constexpr std::size_t kTile = DecoderCosines::kTile, kStripRows = 16;
constexpr std::size_t kStrips = kTile / kStripRows;
constexpr std::size_t kBins = CosineTally::kBins, kHalf = kBins / 2;
constexpr std::size_t kCoarse = 100;  // fine bins in one for a plot

std::size_t tiles_across(std::size_t live) { return (live + kTile - 1) / kTile; }

struct Place {
  std::size_t row, column;  // of tiles
};
// Column by column: neighbours share the tile that is packed.
Place place_of(std::uint64_t tile_pair) {
  std::size_t column = 0;
  for (; tile_pair > column; ++column) tile_pair -= column + 1;
  return {static_cast<std::size_t>(tile_pair), column};
}

// One word that grows with the cosine, and with the lower partner where two are equal.
std::uint64_t nearest_of(float cosine, std::uint32_t partner) {
  const auto bits = std::bit_cast<std::uint32_t>(cosine + 0.0F);  // no negative zero
  const std::uint32_t ordered = (bits >> 31) != 0 ? ~bits : bits | 0x80000000U;
  return (std::uint64_t{ordered} << 32) | (0xFFFFFFFFU - partner);
}
float cosine_of(std::uint64_t nearest) {
  const auto ordered = static_cast<std::uint32_t>(nearest >> 32);
  return std::bit_cast<float>((ordered >> 31) != 0 ? ordered & 0x7FFFFFFFU : ~ordered);
}
std::uint32_t partner_of(std::uint64_t nearest) {
  return 0xFFFFFFFFU - static_cast<std::uint32_t>(nearest);
}

bool stronger(const CosinePair& a, const CosinePair& b) {
  if (a.cosine != b.cosine) return a.cosine > b.cosine;
  return a.i != b.i ? a.i < b.i : a.j < b.j;
}

// Rounding may carry a cosine beyond 1. Gives the largest of n >= 1.
REFRACT_SIMD_CLONES
float clamp_row(float* cosines, std::size_t n) {
  constexpr std::size_t kLanes = 8;
  float lanes[kLanes];
  std::fill_n(lanes, kLanes, -1.0F);
  std::size_t j = 0;
  for (; j + kLanes <= n; j += kLanes)
    for (std::size_t x = 0; x < kLanes; ++x) {
      float value = cosines[j + x];
      value = value < -1.0F ? -1.0F : value;
      value = value > 1.0F ? 1.0F : value;
      cosines[j + x] = value;
      lanes[x] = value > lanes[x] ? value : lanes[x];
    }
  for (; j < n; ++j) {
    cosines[j] = std::clamp(cosines[j], -1.0F, 1.0F);
    lanes[0] = std::max(lanes[0], cosines[j]);
  }
  return *std::max_element(lanes, lanes + kLanes);
}

REFRACT_SIMD_CLONES
void take_columns(const float* cosines, std::uint32_t row, std::size_t n, float* best,
                  std::uint32_t* best_row) {
  for (std::size_t j = 0; j < n; ++j) {
    const bool better = cosines[j] > best[j];
    best[j] = better ? cosines[j] : best[j];
    best_row[j] = better ? row : best_row[j];
  }
}

REFRACT_SIMD_CLONES
void bins_of(const float* cosines, std::size_t n, std::int32_t* bins) {
  for (std::size_t j = 0; j < n; ++j)
    bins[j] = static_cast<std::int32_t>(cosines[j] * static_cast<float>(kHalf) +
                                        (static_cast<float>(kHalf) + 0.5F));
}

// The bin with which `share` of the `total` is reached.
template <typename Count>
std::size_t bin_at(std::size_t bins, std::uint64_t total, double share, Count&& count) {
  const double wanted = share * static_cast<double>(total);
  std::uint64_t below = 0;
  for (std::size_t b = 0; b < bins; ++b) {
    below += count(b);
    if (static_cast<double>(below) >= wanted) return b;
  }
  return bins - 1;
}

}  // namespace

UnitRows::UnitRows(std::string_view of, TensorView<const float> W_dec) : W_dec_(W_dec) {
  const std::size_t features = W_dec.axis(0);
  REFRACT_ASSERT(features < kNoFeature, "{} features", features);
  std::vector<double> squared(features);
  parallel_for(features, [&](std::size_t f) {
    squared[f] = squared_norm(W_dec_.row(f).data(), W_dec_.axis(1));
  });
  for (std::size_t f = 0; f < features; ++f) {
    if (!std::isfinite(squared[f]))
      throw NumericalError(
          "{}: row {} of the decoder is not finite. Train it again with a lower learning rate, or "
          "take an earlier checkpoint.",
          of, f);
    if (squared[f] == 0) continue;
    feature_.push_back(static_cast<std::uint32_t>(f));
    inverse_norm_.push_back(1 / std::sqrt(squared[f]));
  }
}

void UnitRows::fill(std::size_t first, TensorView<float> out) const {
  expect_shape(out, "out", {{"n", out.axis(0)}, {"D", d_in()}});
  REFRACT_ASSERT(first + out.axis(0) <= live(), "rows {}+{} of {}", first, out.axis(0), live());
  parallel_for(out.axis(0), [&](std::size_t row) {
    const auto from = W_dec_.row(feature_[first + row]);
    const auto to = out.row(row);
    const double inverse = inverse_norm_[first + row];
    for (std::size_t j = 0; j < to.size(); ++j)
      to[j] = static_cast<float>(static_cast<double>(from[j]) * inverse);
  });
}

double UnitRows::mean_cosine() const {
  if (live() < 2) return 0;
  constexpr std::size_t kColumns = 256;  // of one thread
  std::vector<double> sum(d_in(), 0.0), squared(d_in(), 0.0);
  parallel_for((d_in() + kColumns - 1) / kColumns, [&](std::size_t block) {
    const std::size_t end = std::min(d_in(), (block + 1) * kColumns);
    for (std::size_t row = 0; row < live(); ++row) {
      const auto from = W_dec_.row(feature_[row]);
      for (std::size_t j = block * kColumns; j < end; ++j) {
        const double value = static_cast<double>(from[j]) * inverse_norm_[row];
        sum[j] += value;
        squared[j] += value * value;
      }
    }
  });
  double of_pairs = 0;
  for (std::size_t j = 0; j < d_in(); ++j) of_pairs += sum[j] * sum[j] - squared[j];
  const auto rows = static_cast<double>(live());
  return of_pairs / (rows * (rows - 1));
}

std::uint64_t DecoderCosines::tile_pairs(std::size_t live) {
  const std::uint64_t across = tiles_across(live);
  return across * (across + 1) / 2;
}

DecoderCosines::DecoderCosines(const UnitRows& rows)
    : rows_(rows),
      packed_tile_(std::numeric_limits<std::size_t>::max()),
      units_(Shape{kTile, rows.d_in()}),
      cosines_(Shape{kTile, kTile}),
      strips_(kStrips),
      nearest_(rows.live(), 0) {
  for (Strip& strip : strips_) {
    strip.histogram.assign(kBins, 0);
    strip.column_best.resize(kTile);
    strip.column_row.resize(kTile);
  }
}

void DecoderCosines::add(std::uint64_t tile_pair) {
  REFRACT_ASSERT(tile_pair < tile_pairs(rows_.live()), "tile pair {} of {} rows", tile_pair,
                 rows_.live());
  const Place place = place_of(tile_pair);
  const auto rows_of = [&](std::size_t tile) {
    return std::min(kTile, rows_.live() - tile * kTile);
  };
  const std::size_t n = rows_of(place.row), columns = rows_of(place.column);
  Stream stream;
  if (packed_tile_ != place.column) {
    const auto units = units_.view().rows(0, columns);
    rows_.fill(place.column * kTile, units);
    columns_.pack(units, {}, stream);
    packed_tile_ = place.column;
  }
  const auto units = units_.view().rows(0, n);
  rows_.fill(place.row * kTile, units);
  gemm_nt(units, columns_, {cosines_.data(), Shape{n, columns}}, 0, stream);

  const std::size_t strips = (n + kStripRows - 1) / kStripRows;
  parallel_for(strips, [&](std::size_t s) { scan(s, place.row, place.column); });
  for (std::size_t s = 0; s < strips; ++s)
    for (std::size_t j = 0; j < columns; ++j) {
      if (strips_[s].column_row[j] == kNoFeature) continue;
      std::uint64_t& nearest = nearest_[place.column * kTile + j];
      nearest = std::max(
          nearest, nearest_of(strips_[s].column_best[j], rows_.feature(strips_[s].column_row[j])));
    }
}

void DecoderCosines::scan(std::size_t s, std::size_t row_tile, std::size_t column_tile) {
  Strip& strip = strips_[s];
  const std::size_t rows = std::min(kTile, rows_.live() - row_tile * kTile);
  const std::size_t columns = std::min(kTile, rows_.live() - column_tile * kTile);
  std::ranges::fill(strip.column_best, -2.0F);
  std::ranges::fill(strip.column_row, kNoFeature);
  std::int32_t bins[kTile];
  const std::size_t end = std::min(rows, (s + 1) * kStripRows);
  for (std::size_t i = s * kStripRows; i < end; ++i) {
    // Within a tile on the diagonal each pair once.
    const std::size_t first = row_tile == column_tile ? i + 1 : 0;
    if (first >= columns) continue;
    const std::size_t n = columns - first;
    float* cosines = cosines_.data() + i * columns + first;
    const float largest = clamp_row(cosines, n);
    const std::size_t row = row_tile * kTile + i, column = column_tile * kTile + first;

    bins_of(cosines, n, bins);
    for (std::size_t j = 0; j < n; ++j) ++strip.histogram[static_cast<std::size_t>(bins[j])];

    take_columns(cosines, static_cast<std::uint32_t>(row), n, strip.column_best.data() + first,
                 strip.column_row.data() + first);
    const auto at = static_cast<std::size_t>(std::find(cosines, cosines + n, largest) - cosines);
    nearest_[row] = std::max(nearest_[row], nearest_of(largest, rows_.feature(column + at)));

    if (largest > kNearDuplicate)
      strip.near_duplicates += static_cast<std::uint64_t>(
          std::count_if(cosines, cosines + n, [](float c) { return c > kNearDuplicate; }));

    std::vector<CosinePair>& heap = strip.strongest;
    const auto weakest = [&] { return heap.size() < kStrongest ? -2.0F : heap.front().cosine; };
    if (largest < weakest()) continue;
    for (std::size_t j = 0; j < n; ++j) {
      if (cosines[j] < weakest()) continue;
      const CosinePair pair{rows_.feature(row), rows_.feature(column + j), cosines[j]};
      if (heap.size() == kStrongest) {
        if (!stronger(pair, heap.front())) continue;
        std::pop_heap(heap.begin(), heap.end(), stronger);
        heap.pop_back();
      }
      heap.push_back(pair);
      std::push_heap(heap.begin(), heap.end(), stronger);
    }
  }
}

CosineTally DecoderCosines::tally() const {
  CosineTally tally{.histogram = std::vector<std::uint64_t>(kBins, 0),
                    .near_duplicates = 0,
                    .nearest = nearest_,
                    .strongest = {}};
  for (const Strip& strip : strips_) {
    for (std::size_t b = 0; b < kBins; ++b) tally.histogram[b] += strip.histogram[b];
    tally.near_duplicates += strip.near_duplicates;
    tally.strongest.insert(tally.strongest.end(), strip.strongest.begin(), strip.strongest.end());
  }
  tally.strongest = merge_strongest(std::move(tally.strongest));
  return tally;
}

std::vector<CosinePair> merge_strongest(std::vector<CosinePair> pairs) {
  std::ranges::sort(pairs, stronger);
  if (pairs.size() > DecoderCosines::kStrongest) pairs.resize(DecoderCosines::kStrongest);
  return pairs;
}

DecoderGeometry decoder_geometry(const UnitRows& rows, const CosineTally& tally) {
  REFRACT_ASSERT(tally.histogram.size() == kBins && tally.nearest.size() == rows.live(),
                 "{} bins, {} rows", tally.histogram.size(), tally.nearest.size());
  DecoderGeometry out;
  out.features = rows.features();
  out.live = rows.live();
  out.nearest_cosine.assign(out.features, 0.0F);
  out.nearest_feature.assign(out.features, kNoFeature);
  out.histogram.assign(kBins / kCoarse + 1, 0);
  if (out.live < 2) return out;
  out.pairs = std::uint64_t{out.live} * (out.live - 1) / 2;
  std::uint64_t counted = 0;
  for (std::size_t b = 0; b < kBins; ++b) {
    out.histogram[(b + kCoarse / 2) / kCoarse] += tally.histogram[b];
    counted += tally.histogram[b];
  }
  REFRACT_ASSERT(counted == out.pairs, "{} of {} pairs", counted, out.pairs);

  const auto cosine_at = [](std::size_t bin) {
    return (static_cast<double>(bin) - static_cast<double>(kHalf)) / static_cast<double>(kHalf);
  };
  out.cosine_mean = rows.mean_cosine();
  out.cosine_p95 = cosine_at(
      bin_at(kBins, out.pairs, 0.95, [&](std::size_t bin) { return tally.histogram[bin]; }));
  const std::size_t absolute = bin_at(kHalf + 1, out.pairs, 0.95, [&](std::size_t bin) {
    const std::uint64_t above = tally.histogram[kHalf + bin];
    return bin == 0 ? above : above + tally.histogram[kHalf - bin];
  });
  out.absolute_cosine_p95 = cosine_at(kHalf + absolute);
  out.cosine_max = static_cast<double>(tally.strongest.front().cosine);
  out.near_duplicates = tally.near_duplicates;
  out.strongest = tally.strongest;

  std::vector<double> nearest;
  double sum = 0;
  for (std::size_t row = 0; row < out.live; ++row) {
    const float cosine = cosine_of(tally.nearest[row]);
    out.nearest_cosine[rows.feature(row)] = cosine;
    out.nearest_feature[rows.feature(row)] = partner_of(tally.nearest[row]);
    nearest.push_back(static_cast<double>(cosine));
    sum += nearest.back();
  }
  std::ranges::sort(nearest);
  out.nearest_mean = sum / static_cast<double>(out.live);
  out.nearest_p50 = quantile(nearest, 0.5);
  out.nearest_p95 = quantile(nearest, 0.95);
  return out;
}

}  // namespace refract
