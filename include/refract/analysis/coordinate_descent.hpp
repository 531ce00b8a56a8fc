#pragma once
// Least squares one coordinate at a time: codes h of a row x over directions V [m, D] that are not
// orthogonal, so that |x - h V|^2 falls with every step. As in scikit-learn's
// _update_cdnmf_fast.pyx (Cichocki & Phan 2009), without its penalties.
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "refract/ops/gemm.hpp"
#include "refract/tensor/tensor.hpp"

namespace refract {

enum class Codes { of_any_sign, non_negative };

// One pass over the coordinates in their order. gram = V V^T [m, m] f32; h [m]; g [m] = h gram -
// V x, half the gradient, kept up to date. A direction of length zero keeps its code. Returns by
// how much the squared error fell, at least: the sum of step^2 |v|^2.
double descend(TensorView<const float> gram, Codes codes, std::span<float> h, std::span<float> g);

// When passes over a row end.
struct Passes {
  int most = 1;
  double enough =
      0;  // ends after one that makes the error fall by this share of all falls, or less
};

// Directions that rows are coded with.
class CodingDirections {
 public:
  CodingDirections() = default;
  explicit CodingDirections(TensorView<const float> V);                         // [m, D], copied
  [[nodiscard]] std::size_t size() const { return gram_.axis(0); }              // m
  [[nodiscard]] TensorView<const float> gram() const { return gram_.cview(); }  // [m, m]

  // One pass over the codes h [n, m] of rows x [n, D], from what they are.
  void pass(TensorView<const float> x, Codes codes, TensorView<float> h) const;
  // Codes h [n, m] from zero. A row's codes depend on it alone. About 2 n D m + 2 m (codes changed)
  // flops. What is left after the default Passes is spread over codes that balance each other: more
  // of them cost time, and the strongest few explained a row no better (semi-NMF of GPT-2's rows).
  void solve(TensorView<const float> x, Codes codes, TensorView<float> h,
             Passes passes = {.most = 20, .enough = 1e-3}) const;

 private:
  PackedMatrix v_, packed_gram_;
  Tensor<float> gram_;
};

// Work memory of refit, kept between rows.
struct RefitScratch {
  std::vector<float> gradient, gram;
};
// The codes of one row on a few directions, made the best there: at most 20 passes from what they
// are, over `chosen` alone, which end at 1e-6. along [chosen]: V x of each; values [chosen].
void refit(TensorView<const float> gram, Codes codes, std::span<const std::uint32_t> chosen,
           std::span<const float> along, std::span<float> values, RefitScratch& scratch);

}  // namespace refract
