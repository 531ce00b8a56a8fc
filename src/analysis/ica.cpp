#include "refract/analysis/ica.hpp"

#include <algorithm>
#include <cmath>

#include "refract/base/error.hpp"
#include "refract/base/parallel.hpp"
#include "refract/base/random.hpp"
#include "refract/tensor/dot.hpp"

namespace refract {
namespace {

constexpr std::size_t kBlockRows = 4096;

// values become their tanh. Lambert's continued fraction, cut at its tenth level; off by less than
// 1e-6, where fp32 knows 6e-8 and the fixed point of the iteration hangs on 1e-4.
REFRACT_SIMD_CLONES
void to_tanh(float* values, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) {
    const float x = std::min(7.5F, std::max(-7.5F, values[i])), t = x * x;
    const float above =
        13749310575.0F +
        t * (1964187225.0F + t * (64324260.0F + t * (675675.0F + t * (2145.0F + t))));
    const float below =
        13749310575.0F +
        t * (6547290750.0F + t * (413513100.0F + t * (7567560.0F + t * (45045.0F + t * 66.0F))));
    values[i] = x * above / below;
  }
}

// gram = W W^T, and its largest distance from the identity.
double gram_of(TensorView<const float> W, TensorView<float> gram) {
  Stream stream;
  gemm_nt(W, PackedMatrix(W, {}, stream), gram, 0, stream);
  double off = 0;
  for (std::size_t i = 0; i < W.axis(0); ++i)
    for (std::size_t j = 0; j < W.axis(0); ++j) {
      const double is = static_cast<double>(gram.row(i)[j]), distance = std::abs(is - (i == j));
      if (!(distance <= off)) off = distance;  // keeps a NaN
    }
  return off;
}

}  // namespace

IcaWhitening whitening_of(const PrincipalComponents& components) {
  const std::vector<double>& variances = components.variances;
  const auto kept = static_cast<std::size_t>(
      std::count_if(variances.begin(), variances.end(),
                    [&](double variance) { return variance > kVarianceFloor * variances[0]; }));
  if (kept == 0)
    throw NumericalError(
        "independent components: the fitting rows do not vary. Leave ica out of evaluate.baselines "
        "for a hook whose activations never change.");
  const std::size_t d_in = components.directions.axis(1);
  IcaWhitening out{Tensor<float>(Shape{kept, d_in}), Tensor<float>(Shape{kept, d_in})};
  for (std::size_t i = 0; i < kept; ++i) {
    const auto deviation = static_cast<float>(std::sqrt(variances[i]));
    for (std::size_t d = 0; d < d_in; ++d) {
      const float direction = components.directions.row(i)[d];
      out.to_white.row(i)[d] = direction / deviation;
      out.from_white.row(i)[d] = direction * deviation;
    }
  }
  return out;
}

IcaRows::IcaRows(TensorView<const float> z) : n_(z.axis(0)), r_(z.axis(1)) {
  Stream stream;
  for (std::size_t first = 0; first < n_; first += kBlockRows) {
    const TensorView<const float> rows = z.rows(first, std::min(kBlockRows, n_ - first));
    Tensor<float> turned(Shape{r_, rows.axis(0)});
    parallel_for(r_, [&](std::size_t j) {
      for (std::size_t i = 0; i < rows.axis(0); ++i) turned.row(j)[i] = rows.row(i)[j];
    });
    Block& block = blocks_.emplace_back();
    block.rows.pack(rows, {}, stream);
    block.columns.pack(turned.cview(), {}, stream);
  }
}

void IcaRows::update(TensorView<const float> W, std::size_t first, TensorView<float> out) const {
  const std::size_t count = out.axis(0);
  expect_shape(W, "W", {{"r", r_}, {"r", r_}});
  expect_shape(out, "out", {{"count", count}, {"r", r_}});
  if (count == 0) return;
  Stream stream;
  std::vector<double> sums(count * r_), squares(count);
  Tensor<float> product(Shape{count, r_});
  for (const Block& block : blocks_) {
    Tensor<float> s(Shape{count, block.rows.rows()});
    gemm_nt(W.rows(first, count), block.rows, s.view(), 0, stream);
    parallel_for(count, [&](std::size_t j) {
      to_tanh(s.row(j).data(), s.axis(1));
      squares[j] += squared_norm(s.row(j).data(), s.axis(1));
    });
    gemm_nt(s.cview(), block.columns, product.view(), 0, stream);
    for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += static_cast<double>(product.data()[i]);
  }
  const auto n = static_cast<double>(n_);
  for (std::size_t j = 0; j < count; ++j)
    for (std::size_t d = 0; d < r_; ++d)
      out.row(j)[d] = static_cast<float>(
          sums[j * r_ + d] / n - (1 - squares[j] / n) * static_cast<double>(W.row(first + j)[d]));
}

Tensor<float> decorrelated(TensorView<const float> W) {
  constexpr int kSteps = 100;
  constexpr double kOrthogonal = 1e-5;  // the step after it squares that
  const std::size_t r = W.axis(0);
  expect_shape(W, "W", {{"r", r}, {"r", r}});
  Stream stream;
  Tensor<float> out(W.shape()), gram(W.shape()), product(W.shape()), turned(W.shape());
  std::copy_n(W.data(), W.size(), out.data());
  (void)gram_of(out.cview(), gram.view());
  // Its largest row of absolute values and its Frobenius norm bound the largest eigenvalue of the
  // gram, which must be below 3.
  double row_bound = 0, squares = 0;
  for (std::size_t i = 0; i < r; ++i) {
    double sum = 0;
    for (const float value : gram.row(i)) {
      sum += std::abs(static_cast<double>(value));
      squares += static_cast<double>(value) * static_cast<double>(value);
    }
    row_bound = std::max(row_bound, sum);
  }
  const double bound = std::min(row_bound, std::sqrt(squares));
  const auto scale = static_cast<float>(1 / std::sqrt(bound));
  for (float& value : out.span()) value *= scale;
  for (int step = 0; step < kSteps; ++step) {
    const double off = gram_of(out.cview(), gram.view());
    // W <- 1.5 W - 0.5 (W W^T) W, rows of the product being those of gram times columns of W.
    for (std::size_t i = 0; i < r; ++i)
      for (std::size_t j = 0; j < r; ++j) turned.row(j)[i] = out.row(i)[j];
    gemm_nt(gram.cview(), PackedMatrix(turned.cview(), {}, stream), product.view(), 0, stream);
    for (std::size_t i = 0; i < out.size(); ++i)
      out.data()[i] = 1.5F * out.data()[i] - 0.5F * product.data()[i];
    if (off < kOrthogonal) return out;
  }
  throw NumericalError(
      "independent components: {} of them did not become orthogonal in {} steps. The fitting rows "
      "are not finite, or too few or too alike: raise evaluate.baseline_rows, or leave ica out of "
      "evaluate.baselines.",
      r, kSteps);
}

double turned(TensorView<const float> W_new, TensorView<const float> W) {
  double most = 0;
  for (std::size_t j = 0; j < W.axis(0); ++j) {
    double along = 0;
    for (std::size_t d = 0; d < W.axis(1); ++d)
      along += static_cast<double>(W_new.row(j)[d]) * static_cast<double>(W.row(j)[d]);
    most = std::max(most, std::abs(std::abs(along) - 1));
  }
  return most;
}

Tensor<float> initial_unmixing(std::size_t r, std::uint64_t seed) {
  const CounterRng rng(Purpose::baselines, {seed});
  Tensor<float> W(Shape{r, r});
  for (std::size_t i = 0; i < W.size(); ++i) W.data()[i] = static_cast<float>(rng.normal(i));
  return decorrelated(W.cview());
}

}  // namespace refract
