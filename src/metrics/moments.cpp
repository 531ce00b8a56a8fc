#include "refract/metrics/moments.hpp"

#include <algorithm>

#include "refract/base/error.hpp"
#include "refract/base/parallel.hpp"

namespace refract {
namespace {

constexpr std::size_t kTile = ScatterTiles::kTile;
constexpr std::size_t kRows = 64;  // centred at a time: two blocks of 32 KiB beside the tile's

std::size_t tiles_across(std::size_t d) { return (d + kTile - 1) / kTile; }

struct Place {
  std::size_t row, column;  // of tiles
};
// Of every tile of the triangle, in their order.
std::vector<Place> places(std::size_t d) {
  std::vector<Place> all;
  for (std::size_t i = 0; i < tiles_across(d); ++i)
    for (std::size_t j = i; j < tiles_across(d); ++j) all.push_back({i, j});
  return all;
}

// out [n, kTile]: columns from `first` on, less their mean; zero beyond the last.
void centre(TensorView<const float> x, std::span<const float> mean, std::size_t first,
            double* out) {
  const std::size_t columns = std::min(kTile, mean.size() - first);
  for (std::size_t r = 0; r < x.axis(0); ++r) {
    const float* row = x.row(r).data() + first;
    double* to = out + r * kTile;
    for (std::size_t j = 0; j < columns; ++j)
      to[j] = static_cast<double>(row[j]) - static_cast<double>(mean[first + j]);
    std::fill(to + columns, to + kTile, 0.0);
  }
}

// sums [kTile, kTile] += a^T b, row after row. A few elements at a time stay in registers.
REFRACT_SIMD_CLONES
void add_products(const double* a, const double* b, std::size_t rows, double* sums) {
  constexpr std::size_t kDown = 4, kAcross = 8;
  for (std::size_t i = 0; i < kTile; i += kDown)
    for (std::size_t j = 0; j < kTile; j += kAcross) {
      double held[kDown][kAcross];
      for (std::size_t y = 0; y < kDown; ++y)
        for (std::size_t x = 0; x < kAcross; ++x) held[y][x] = sums[(i + y) * kTile + j + x];
      for (std::size_t r = 0; r < rows; ++r)
        for (std::size_t y = 0; y < kDown; ++y)
          for (std::size_t x = 0; x < kAcross; ++x)
            held[y][x] += a[r * kTile + i + y] * b[r * kTile + j + x];
      for (std::size_t y = 0; y < kDown; ++y)
        for (std::size_t x = 0; x < kAcross; ++x) sums[(i + y) * kTile + j + x] = held[y][x];
    }
}

}  // namespace

void add_weighted_rows(TensorView<const float> x, std::span<const double> weights,
                       std::span<double> sum) {
  constexpr std::size_t kColumns = 256;  // of one thread
  const std::size_t n = x.axis(0), d = sum.size();
  expect_shape(x, "x", {{"n", weights.size()}, {"D", d}});
  parallel_for((d + kColumns - 1) / kColumns, [&](std::size_t block) {
    const std::size_t first = block * kColumns, last = std::min(d, first + kColumns);
    for (std::size_t i = 0; i < n; ++i) {
      const float* row = x.row(i).data();
      for (std::size_t j = first; j < last; ++j) sum[j] += weights[i] * static_cast<double>(row[j]);
    }
  });
}

std::size_t ScatterTiles::tiles_of(std::size_t d) {
  return tiles_across(d) * (tiles_across(d) + 1) / 2;
}

ScatterTiles::ScatterTiles(std::size_t d, std::size_t first, std::size_t count)
    : d_(d), first_(first), sums_(count * kTile * kTile, 0.0) {
  REFRACT_ASSERT(first + count <= tiles_of(d), "tiles {}+{} of {}", first, count, tiles_of(d));
}

void ScatterTiles::add(TensorView<const float> x, std::span<const float> mean) {
  const std::size_t n = x.axis(0);
  REFRACT_ASSERT(mean.size() == d_, "mean of {} columns, not {}", mean.size(), d_);
  expect_shape(x, "x", {{"n", n}, {"D", d_}});
  const std::vector<Place> tiles = places(d_);
  parallel_for(sums_.size() / (kTile * kTile), [&](std::size_t t) {
    const Place place = tiles[first_ + t];
    std::vector<double> a(kRows * kTile), b(kRows * kTile);
    for (std::size_t first = 0; first < n; first += kRows) {
      const TensorView<const float> rows = x.rows(first, std::min(kRows, n - first));
      centre(rows, mean, place.row * kTile, a.data());
      centre(rows, mean, place.column * kTile, b.data());
      add_products(a.data(), b.data(), rows.axis(0), sums_.data() + t * kTile * kTile);
    }
  });
}

std::vector<double> covariance_of(std::span<const double> tiles, std::size_t d, double n) {
  const std::vector<Place> all = places(d);
  REFRACT_ASSERT(tiles.size() == all.size() * kTile * kTile, "{} values of {} tiles", tiles.size(),
                 all.size());
  std::vector<double> out(d * d);
  for (std::size_t t = 0; t < all.size(); ++t)
    for (std::size_t y = 0; y < kTile; ++y)
      for (std::size_t x = 0; x < kTile; ++x) {
        const std::size_t i = all[t].row * kTile + y, j = all[t].column * kTile + x;
        if (i > j || j >= d) continue;  // of a tile on the diagonal the upper half counts
        out[i * d + j] = out[j * d + i] = tiles[(t * kTile + y) * kTile + x] / n;
      }
  return out;
}

}  // namespace refract
