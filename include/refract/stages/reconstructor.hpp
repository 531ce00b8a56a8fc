#pragma once
// The seam of evaluation: what turns rows into a reconstruction, be it an SAE in one of its modes
// or a baseline; measured by the same code, on the same rows.
#include <cstdint>
#include <span>

#include "refract/sae/variant.hpp"
#include "refract/tensor/tensor.hpp"

namespace refract {

class Reconstructor {
 public:
  virtual ~Reconstructor() = default;
  // How many features or components there are to choose from in a row.
  [[nodiscard]] virtual std::size_t components() const = 0;
  // Whether a row's result depends on the other rows of its call.
  [[nodiscard]] virtual bool looks_at_whole_calls() const { return false; }
  // Raw rows x [n, D_in] to raw x_hat [n, D_out] (D = D_in = D_out, but of a transcoder); acts:
  // what each row used, in units of x_hat (codes may be negative; zeros are not listed), features
  // ascending. Rows that take part have included[i] != 0; the others' results are not looked at.
  virtual void reconstruct(TensorView<const float> x, std::span<const std::uint8_t> included,
                           SparseActs& acts, TensorView<float> x_hat) = 0;
};

}  // namespace refract
