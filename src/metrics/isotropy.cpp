#include "refract/metrics/isotropy.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "refract/base/error.hpp"
#include "refract/base/parallel.hpp"
#include "refract/metrics/moments.hpp"
#include "refract/ops/symmetric_eigen.hpp"
#include "refract/tensor/dot.hpp"

namespace refract {
namespace {

SymmetricEigen eigen_of(std::span<const double> covariance, std::size_t d, Eigen wanted) {
  return symmetric_eigen(covariance, d, wanted, "statistics of activations",
                         "leave them out (evaluate.statistics: false)");
}

constexpr std::size_t kTogether = 8;  // rows of a product: each row read serves all of them

// out [rows, D] = a [rows, K] b [K, D], in ascending k.
REFRACT_SIMD_CLONES
void multiply(const double* a, std::size_t rows, const double* b, std::size_t k_size, std::size_t d,
              double* out) {
  std::fill(out, out + rows * d, 0.0);
  for (std::size_t k = 0; k < k_size; ++k)
    for (std::size_t i = 0; i < rows; ++i) {
      const double factor = a[i * k_size + k];
      const double* from = b + k * d;
      double* to = out + i * d;
      for (std::size_t j = 0; j < d; ++j) to[j] += factor * from[j];
    }
}

// a [N, K] b [K, D]
std::vector<double> product(std::span<const double> a, std::span<const double> b,
                            std::size_t k_size, std::size_t d) {
  const std::size_t n = a.size() / k_size;
  std::vector<double> out(n * d);
  parallel_for((n + kTogether - 1) / kTogether, [&](std::size_t block) {
    const std::size_t first = block * kTogether;
    multiply(a.data() + first * k_size, std::min(kTogether, n - first), b.data(), k_size, d,
             out.data() + first * d);
  });
  return out;
}

double floor_of(const SymmetricEigen& eigen, std::size_t d, double relative_floor) {
  const double most = eigen.values.front();
  if (!(most > 0))
    throw NumericalError(
        "the calibration's covariance of {} dimensions has no eigenvalue above zero (the largest "
        "is {}): nothing to whiten by. Check that calibration.h5 holds finite numbers (refract "
        "describe --verify).",
        d, most);
  return relative_floor * most;
}

}  // namespace

void DirectionSum::add(TensorView<const float> x) {
  std::vector<double> weights(x.axis(0));
  parallel_for(weights.size(), [&](std::size_t i) {
    const double norm = norm_of(x.row(i));
    weights[i] = norm > 0 ? 1 / norm : 0;
  });
  rows +=
      static_cast<double>(std::ranges::count_if(weights, [](double weight) { return weight > 0; }));
  add_weighted_rows(x, weights, sum);
}

void DirectionSum::add(const DirectionSum& other) {
  for (std::size_t j = 0; j < sum.size(); ++j) sum[j] += other.sum[j];
  rows += other.rows;
}

std::optional<double> mean_cosine(const DirectionSum& directions) {
  const double n = directions.rows;
  if (n < 2) return std::nullopt;
  double square = 0;
  for (const double value : directions.sum) square += value * value;
  return (square - n) / (n * (n - 1));
}

std::vector<double> eigenvalues(std::span<const double> covariance, std::size_t d) {
  std::vector<double> values = eigen_of(covariance, d, Eigen::values).values;
  for (double& value : values) value = std::max(value, 0.0);
  return values;
}

double isoscore(std::span<const double> variances) {
  const auto n = static_cast<double>(variances.size());
  double length = 0;
  for (const double variance : variances) length += variance * variance;
  length = std::sqrt(length);
  REFRACT_ASSERT(n >= 2 && length > 0, "{} variances of length {}", n, length);
  double off = 0;  // of the variances, made sqrt(n) long, from (1, ..., 1)
  for (const double variance : variances) {
    const double by = std::sqrt(n) * variance / length - 1;
    off += by * by;
  }
  const double defect = std::sqrt(off) / std::sqrt(2 * (n - std::sqrt(n)));
  const double used = n - defect * defect * (n - std::sqrt(n));
  const double share_of_dimensions = used * used / (n * n);
  return (n * share_of_dimensions - 1) / (n - 1);
}

std::optional<SpectrumShape> spectrum_shape(std::span<const double> eigenvalues) {
  double sum = 0, squares = 0, entropy = 0;
  for (const double value : eigenvalues) {
    sum += value;
    squares += value * value;
  }
  if (!(squares > 0)) return std::nullopt;
  for (const double value : eigenvalues)
    if (value > 0) entropy -= value / sum * std::log(value / sum);
  SpectrumShape out{.participation_ratio = sum * sum / squares,
                    .effective_rank = std::exp(entropy),
                    .isoscore = std::nullopt,
                    .condition_number = std::nullopt};
  if (eigenvalues.size() >= 2) out.isoscore = isoscore(eigenvalues);
  const auto [smallest, largest] = std::ranges::minmax(eigenvalues);
  if (smallest >
      largest * static_cast<double>(eigenvalues.size()) * std::numeric_limits<double>::epsilon())
    out.condition_number = largest / smallest;
  return out;
}

std::size_t components_for(std::span<const double> eigenvalues, double share) {
  const double all = std::accumulate(eigenvalues.begin(), eigenvalues.end(), 0.0);
  double sum = 0;
  for (std::size_t i = 0; i < eigenvalues.size(); ++i)
    if ((sum += eigenvalues[i]) >= share * all) return i + 1;
  return eigenvalues.size();
}

Whitening whitening_of(std::span<const double> covariance, std::size_t d, double relative_floor) {
  const SymmetricEigen eigen = eigen_of(covariance, d, Eigen::values_and_vectors);
  Whitening out{.W = Tensor<float>(Shape{d, d}), .floor = floor_of(eigen, d, relative_floor)};
  for (std::size_t i = 0; i < d; ++i) {
    const double variance = eigen.values[i];
    if (variance < out.floor) ++out.floored;
    const double scale = 1 / std::sqrt(std::max(variance, out.floor));
    for (std::size_t j = 0; j < d; ++j)
      out.W.row(i)[j] = static_cast<float>(scale * eigen.vectors[i * d + j]);
  }
  return out;
}

ZcaWhitening zca_whitening_of(std::span<const double> covariance, std::size_t d,
                              double relative_floor) {
  const SymmetricEigen eigen = eigen_of(covariance, d, Eigen::values_and_vectors);
  ZcaWhitening out{.W = Tensor<float>(Shape{d, d}),
                   .inverse = Tensor<float>(Shape{d, d}),
                   .floor = floor_of(eigen, d, relative_floor)};
  // E diag(scale) E^T, some rows at a time.
  const auto sandwich = [&](bool inverse, Tensor<float>& to) {
    std::vector<double> scale(d);
    for (std::size_t i = 0; i < d; ++i) {
      const double root = std::sqrt(std::max(eigen.values[i], out.floor));
      scale[i] = inverse ? root : 1 / root;
    }
    parallel_for((d + kTogether - 1) / kTogether, [&](std::size_t block) {
      const std::size_t first = block * kTogether, rows = std::min(kTogether, d - first);
      std::vector<double> left(rows * d), made(rows * d);
      for (std::size_t row = 0; row < rows; ++row)
        for (std::size_t i = 0; i < d; ++i)
          left[row * d + i] = scale[i] * eigen.vectors[i * d + first + row];
      multiply(left.data(), rows, eigen.vectors.data(), d, d, made.data());
      for (std::size_t row = 0; row < rows; ++row)
        for (std::size_t j = 0; j < d; ++j)
          to.row(first + row)[j] = static_cast<float>(made[row * d + j]);
    });
    for (std::size_t i = 0; i < d; ++i)  // what rounding made unequal
      for (std::size_t j = 0; j < i; ++j) to.row(j)[i] = to.row(i)[j];
  };
  sandwich(false, out.W);
  sandwich(true, out.inverse);
  return out;
}

std::vector<double> whitened_covariance(const Tensor<float>& W,
                                        std::span<const double> covariance) {
  const std::size_t d = W.axis(0);
  expect_shape(W.cview(), "W", {{"D", d}, {"D", d}});
  REFRACT_ASSERT(covariance.size() == d * d, "covariance {} d {}", covariance.size(), d);
  std::vector<double> turned(W.span().begin(), W.span().end());
  const std::vector<double> half = product(turned, covariance, d, d);
  for (std::size_t i = 0; i < d; ++i)  // W^T
    for (std::size_t j = 0; j < i; ++j) std::swap(turned[i * d + j], turned[j * d + i]);
  std::vector<double> out = product(half, turned, d, d);
  for (std::size_t i = 0; i < d; ++i)  // what rounding made unequal
    for (std::size_t j = 0; j < i; ++j)
      out[i * d + j] = out[j * d + i] = (out[i * d + j] + out[j * d + i]) / 2;
  return out;
}

}  // namespace refract
