#include "refract/analysis/coordinate_descent.hpp"

#include <algorithm>

#include "refract/base/error.hpp"
#include "refract/base/parallel.hpp"

namespace refract {
namespace {

constexpr Passes kRefit{.most = 20, .enough = 1e-6};
// Rows whose gradients are held at a time.
constexpr std::size_t kRows = 1024;

REFRACT_SIMD_CLONES
void add_scaled(float scale, const float* from, std::size_t n, float* to) {
  for (std::size_t i = 0; i < n; ++i) to[i] += scale * from[i];
}

void descend_to_the_end(TensorView<const float> gram, Codes codes, std::span<float> h,
                        std::span<float> g, Passes passes) {
  double fell = 0;
  for (int pass = 0; pass < passes.most; ++pass) {
    const double step = descend(gram, codes, h, g);
    fell += step;
    if (step <= passes.enough * fell) return;
  }
}

}  // namespace

double descend(TensorView<const float> gram, Codes codes, std::span<float> h, std::span<float> g) {
  const std::size_t m = h.size();
  double fell = 0;
  for (std::size_t j = 0; j < m; ++j) {
    const float curvature = gram.data()[j * m + j];
    if (!(curvature > 0)) continue;
    float next = h[j] - g[j] / curvature;
    if (codes == Codes::non_negative) next = std::max(next, 0.0F);
    const float step = next - h[j];
    if (step == 0) continue;
    h[j] = next;
    add_scaled(step, gram.data() + j * m, m, g.data());
    fell += static_cast<double>(step) * static_cast<double>(step) * static_cast<double>(curvature);
  }
  return fell;
}

CodingDirections::CodingDirections(TensorView<const float> V) : gram_(Shape{V.axis(0), V.axis(0)}) {
  Stream stream;
  v_.pack(V, {}, stream);
  gemm_nt(V, v_, gram_.view(), 0, stream);
  packed_gram_.pack(gram_.cview(), {}, stream);
}

void CodingDirections::pass(TensorView<const float> x, Codes codes, TensorView<float> h) const {
  const std::size_t n = x.axis(0), m = size();
  expect_shape(h, "h", {{"n", n}, {"m", m}});
  Stream stream;
  Tensor<float> along(Shape{std::min(n, kRows), m}), g(along.shape());
  for (std::size_t first = 0; first < n; first += kRows) {
    const std::size_t rows = std::min(kRows, n - first);
    gemm_nt(x.rows(first, rows), v_, along.view().rows(0, rows), first, stream);
    gemm_nt(h.rows(first, rows), packed_gram_, g.view().rows(0, rows), first, stream);
    parallel_for(rows, [&](std::size_t i) {
      add_scaled(-1, along.row(i).data(), m, g.row(i).data());
      descend(gram(), codes, h.row(first + i), g.row(i));
    });
  }
}

void CodingDirections::solve(TensorView<const float> x, Codes codes, TensorView<float> h,
                             Passes passes) const {
  const std::size_t n = x.axis(0), m = size();
  expect_shape(h, "h", {{"n", n}, {"m", m}});
  Stream stream;
  std::fill(h.span().begin(), h.span().end(), 0.0F);
  Tensor<float> g(Shape{std::min(n, kRows), m});
  for (std::size_t first = 0; first < n; first += kRows) {
    const std::size_t rows = std::min(kRows, n - first);
    gemm_nt(x.rows(first, rows), v_, g.view().rows(0, rows), first, stream);
    parallel_for(rows, [&](std::size_t i) {
      for (float& value : g.row(i)) value = -value;
      descend_to_the_end(gram(), codes, h.row(first + i), g.row(i), passes);
    });
  }
}

void refit(TensorView<const float> gram, Codes codes, std::span<const std::uint32_t> chosen,
           std::span<const float> along, std::span<float> values, RefitScratch& scratch) {
  const std::size_t k = chosen.size(), m = gram.axis(0);
  REFRACT_ASSERT(along.size() == k && values.size() == k, "{} chosen, {} along, {} values", k,
                 along.size(), values.size());
  if (k == 0) return;
  scratch.gram.resize(k * k);
  scratch.gradient.resize(k);
  for (std::size_t a = 0; a < k; ++a)
    for (std::size_t b = 0; b < k; ++b)
      scratch.gram[a * k + b] = gram.data()[chosen[a] * m + chosen[b]];
  for (std::size_t a = 0; a < k; ++a) scratch.gradient[a] = -along[a];
  for (std::size_t b = 0; b < k; ++b)
    add_scaled(values[b], scratch.gram.data() + b * k, k, scratch.gradient.data());
  descend_to_the_end({scratch.gram.data(), Shape{k, k}}, codes, values, scratch.gradient, kRefit);
}

}  // namespace refract
