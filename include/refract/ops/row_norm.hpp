#pragma once
// Rows in units of their own, and back: SAELens' normalize_activations "layer_norm".
//
//   u = (x - mean) / (std + 1e-5)      x_hat = u_hat std + mean
//
// mean and std are of the row x itself, std with D - 1 in the denominator (0 where D is 1), both
// summed in fp64 in 32 lanes: the same bytes on every device, whatever rows stand beside it.
#include "refract/tensor/tensor.hpp"

namespace refract {

inline constexpr double kRowNormEpsilon = 1e-5;  // added to std, not under its root

// x, u [n, D]; u may be x.
void normalise_rows(TensorView<const float> x, TensorView<float> u, Stream& stream);
// x [n, D] as it was before; u_hat, x_hat [n, D]; x_hat may be u_hat.
void restore_rows(TensorView<const float> x, TensorView<const float> u_hat, TensorView<float> x_hat,
                  Stream& stream);

}  // namespace refract
