#include "refract/analysis/nmf.hpp"

#include <algorithm>
#include <cmath>

#include "refract/base/error.hpp"
#include "refract/base/parallel.hpp"
#include "refract/tensor/dot.hpp"

namespace refract {
namespace {

constexpr std::size_t kBlockRows = 4096;

// out [columns, n]: columns [first, first + columns) of rows [n, ...].
Tensor<float> columns_of(TensorView<const float> rows, std::size_t first, std::size_t columns) {
  Tensor<float> out(Shape{columns, rows.axis(0)});
  parallel_for(columns, [&](std::size_t j) {
    for (std::size_t i = 0; i < rows.axis(0); ++i) out.row(j)[i] = rows.row(i)[first + j];
  });
  return out;
}

void add(const Tensor<float>& product, std::vector<double>& sums) {
  for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += static_cast<double>(product.data()[i]);
}

REFRACT_SIMD_CLONES
void add_scaled(double scale, const double* from, std::size_t n, double* to) {
  for (std::size_t i = 0; i < n; ++i) to[i] += scale * from[i];
}

}  // namespace

Tensor<float> split_by_sign(TensorView<const float> x) {
  const std::size_t n = x.axis(0), d = x.axis(1);
  Tensor<float> out(Shape{n, 2 * d});
  parallel_for(n, [&](std::size_t i) {
    for (std::size_t j = 0; j < d; ++j) {
      out.row(i)[j] = std::max(x.row(i)[j], 0.0F);
      out.row(i)[d + j] = std::max(-x.row(i)[j], 0.0F);
    }
  });
  return out;
}

Tensor<float> joined_by_sign(TensorView<const float> W) {
  const std::size_t d = W.axis(1) / 2;
  Tensor<float> out(Shape{W.axis(0), d});
  for (std::size_t i = 0; i < W.axis(0); ++i)
    for (std::size_t j = 0; j < d; ++j) out.row(i)[j] = W.row(i)[j] - W.row(i)[d + j];
  return out;
}

Tensor<float> initial_parts(TensorView<const float> x, std::size_t r) {
  const std::size_t n = x.axis(0), d = x.axis(1);
  REFRACT_ASSERT(r <= n, "{} components of {} rows", r, n);
  Tensor<float> W(Shape{r, d});
  for (std::size_t j = 0; j < r; ++j) {
    const std::span<const float> row = x.row(j * n / r);
    const double norm = norm_of(row);
    const auto scale = static_cast<float>(norm > 0 ? 1 / norm : 0);
    for (std::size_t c = 0; c < d; ++c) W.row(j)[c] = row[c] * scale;
  }
  return W;
}

NmfRows::NmfRows(TensorView<const float> x) : n_(x.axis(0)), d_(x.axis(1)) {
  Stream stream;
  for (std::size_t i = 0; i < n_; ++i) squared_norm_ += refract::squared_norm(x.row(i).data(), d_);
  for (std::size_t first = 0; first < n_; first += kBlockRows) {
    const TensorView<const float> rows = x.rows(first, std::min(kBlockRows, n_ - first));
    columns_.emplace_back().pack(columns_of(rows, 0, d_).cview(), {}, stream);
  }
}

NmfSums NmfRows::sums(TensorView<const float> H, std::size_t first, std::size_t count) const {
  const std::size_t r = H.axis(1);
  expect_shape(H, "H", {{"n", n_}, {"r", r}});
  NmfSums out{std::vector<double>(count * r), std::vector<double>(count * d_)};
  if (count == 0) return out;
  Stream stream;
  Tensor<float> hh(Shape{count, r}), hx(Shape{count, d_});
  PackedMatrix packed;
  for (std::size_t b = 0; b < columns_.size(); ++b) {
    const std::size_t from = b * kBlockRows;
    const TensorView<const float> rows = H.rows(from, std::min(kBlockRows, n_ - from));
    const Tensor<float> all = columns_of(rows, 0, r);
    const TensorView<const float> mine = all.cview().rows(first, count);
    packed.pack(all.cview(), {}, stream);
    gemm_nt(mine, packed, hh.view(), 0, stream);
    gemm_nt(mine, columns_[b], hx.view(), 0, stream);
    add(hh, out.hh);
    add(hx, out.hx);
  }
  return out;
}

std::vector<double> update_parts(const NmfSums& all, TensorView<const float> W, Parts parts,
                                 std::size_t first, TensorView<float> out) {
  const std::size_t r = W.axis(0), d = W.axis(1), count = out.axis(0);
  REFRACT_ASSERT(all.hh.size() == r * r && all.hx.size() == r * d && first + count <= d,
                 "r {} D {} sums {} {} columns {}+{}", r, d, all.hh.size(), all.hx.size(), first,
                 count);
  expect_shape(out, "out", {{"count", count}, {"r", r}});
  std::vector<double> error(count);
  parallel_for(count, [&](std::size_t c) {
    const std::size_t column = first + c;
    std::vector<double> w(r), g(r);  // g = (H^T H) w - H^T x
    for (std::size_t j = 0; j < r; ++j) {
      w[j] = static_cast<double>(W.row(j)[column]);
      g[j] = -all.hx[j * d + column];
    }
    for (std::size_t j = 0; j < r; ++j)
      if (w[j] != 0) add_scaled(w[j], all.hh.data() + j * r, r, g.data());
    for (std::size_t j = 0; j < r; ++j) {
      const double curvature = all.hh[j * r + j];
      if (!(curvature > 0)) continue;
      double next = w[j] - g[j] / curvature;
      if (parts == Parts::non_negative) next = std::max(next, 0.0);
      const double step = next - w[j];
      if (step == 0) continue;
      w[j] = next;
      add_scaled(step, all.hh.data() + j * r, r, g.data());
    }
    for (std::size_t j = 0; j < r; ++j) {
      out.row(c)[j] = static_cast<float>(w[j]);
      error[c] += w[j] * (g[j] - all.hx[j * d + column]);
    }
  });
  return error;
}

}  // namespace refract
