#pragma once
// X is about H W with H >= 0: semi-NMF where W may have any sign (Ding, Li & Jordan 2010), NMF
// where it may not. Both by coordinate descent, all of H and then all of W in each iteration, as
// scikit-learn's NMF(solver='cd', shuffle=False) does it; for semi-NMF it is the same without the
// bound on W (Gillis & Kumar 2015), and falls faster than Ding's multiplicative updates. The
// squared error never rises.
//
// Rows of H depend on W and on their row of X alone, columns of W on H^T H and on their column of
// H^T X: so either can be divided.
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "refract/analysis/coordinate_descent.hpp"
#include "refract/ops/gemm.hpp"
#include "refract/tensor/tensor.hpp"

namespace refract {

enum class Parts { of_any_sign, non_negative };  // W

// [max(x, 0), max(-x, 0)]: [n, 2 D] of x [n, D].
[[nodiscard]] Tensor<float> split_by_sign(TensorView<const float> x);
// Its inverse for parts: first half less second half, [r, D] of W [r, 2 D].
[[nodiscard]] Tensor<float> joined_by_sign(TensorView<const float> W);

// Where the iteration starts: r rows, evenly spread, with norm 1 (a row of zeros stays what it is).
// There must be at least r.
[[nodiscard]] Tensor<float> initial_parts(TensorView<const float> x, std::size_t r);

// Some components' rows of H^T H [count, r] and H^T X [count, D], fp64.
struct NmfSums {
  std::vector<double> hh, hx;
};

// Rows X [n, D] for the products of an iteration. Memory: that of the rows once more.
class NmfRows {
 public:
  explicit NmfRows(TensorView<const float> x);                         // copied
  [[nodiscard]] double squared_norm() const { return squared_norm_; }  // of all of X
  // Of components [first, first + count), from H [n, r]. A component's sums have the same bytes
  // however components are divided: products of at most 4096 rows are fp32, their sums fp64. About
  // 2 n count (r + D) flops, and n (count + r) floats in blocks.
  [[nodiscard]] NmfSums sums(TensorView<const float> H, std::size_t first, std::size_t count) const;

 private:
  std::size_t n_ = 0, d_ = 0;
  double squared_norm_ = 0;
  std::vector<PackedMatrix> columns_;  // of blocks: [D, n]
};

// Columns [first, first + out.axis(0)) of W [r, D], one pass over the components each, to out
// [count, r] (transposed: a column of W is a row of out). `all`: the sums of all components. A
// component that no row uses keeps its part. Returns what each column adds to |X - H W|^2 - |X|^2.
// About 2 r^2 count flops, fp64.
[[nodiscard]] std::vector<double> update_parts(const NmfSums& all, TensorView<const float> W,
                                               Parts parts, std::size_t first,
                                               TensorView<float> out);

// Converged when an iteration explains less than this share of |X|^2 more.
inline constexpr double kNmfTolerance = 1e-4;
inline constexpr std::uint64_t kNmfIterations = 100;  // at most

}  // namespace refract
