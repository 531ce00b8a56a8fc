#pragma once
// Independent components by parallel FastICA (Hyvarinen 1999) with g = tanh, as scikit-learn's
// FastICA(algorithm='parallel', fun='logcosh', whiten='unit-variance') iterates it:
//
//   W1 = E[g(W z) z^T] - diag(E[g'(W z)]) W      over whitened rows z; each component by itself
//   W  = (W1 W1^T)^(-1/2) W1                     all together
//
// until no component turns any more. Sources of a row x are W K (x - mean), and x is about mean +
// sum of s_j a_j with a_j row j of W K^-1. There cannot be more components than dimensions.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "refract/analysis/pca.hpp"
#include "refract/ops/gemm.hpp"
#include "refract/tensor/tensor.hpp"

namespace refract {

// Rows whose variance is 1 along r directions and that have no covariance. Directions with a
// variance of at most kVarianceFloor of the largest are left out: fp32 rows hold little but
// rounding there.
inline constexpr double kVarianceFloor = 1e-6;
struct IcaWhitening {
  Tensor<float> to_white;    // K [r, D]: direction / sqrt(variance); z = K (x - mean)
  Tensor<float> from_white;  // [r, D]: direction * sqrt(variance); x - mean is about z from_white
};
// `components`: of the rows that are whitened; with those of others E[z z^T] is not the identity,
// and the iteration may not settle.
[[nodiscard]] IcaWhitening whitening_of(const PrincipalComponents& components);

// Whitened rows, laid out for the products of an iteration. Memory: twice that of the rows.
class IcaRows {
 public:
  explicit IcaRows(TensorView<const float> z);  // [n, r] f32, copied
  // Rows [first, first + out.axis(0)) of W1, from W [r, r] to out [count, r]. A row depends on row
  // j of W alone, so it has the same bytes however components are divided. Products of at most 4096
  // rows are fp32, their sums fp64. About 4 n r count flops and n count of tanh.
  void update(TensorView<const float> W, std::size_t first, TensorView<float> out) const;

 private:
  struct Block {
    PackedMatrix rows;     // [n, r]
    PackedMatrix columns;  // [r, n]
  };
  std::size_t n_ = 0, r_ = 0;
  std::vector<Block> blocks_;
};

// (W W^T)^(-1/2) W, the nearest orthogonal matrix, by Newton-Schulz (Higham 2008, eq. 8.20) rather
// than by LAPACK: products alone, so that the bytes depend on W alone. 4 r^3 flops a step, about 10
// to 20 steps. NumericalError when W is not finite or has rows that depend on each other.
[[nodiscard]] Tensor<float> decorrelated(TensorView<const float> W);

// How far the components turned: the largest | |w_new . w| - 1 |. Converged when below 1e-4.
inline constexpr double kIcaTolerance = 1e-4;
inline constexpr std::uint64_t kIcaIterations = 200;  // at most
[[nodiscard]] double turned(TensorView<const float> W_new, TensorView<const float> W);

// Where the iteration starts: decorrelated normal draws.
[[nodiscard]] Tensor<float> initial_unmixing(std::size_t r, std::uint64_t seed);

}  // namespace refract
