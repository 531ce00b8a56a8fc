#pragma once
// The linear baseline: reconstruction from k principal components.
#include <cstddef>
#include <span>

#include "refract/tensor/tensor.hpp"

namespace refract {

// The k eigenvectors of the symmetric covariance [D, D] with the largest eigenvalues, largest
// first; each has its largest entry positive. Throws NumericalError when LAPACK does not converge.
[[nodiscard]] Tensor<float> principal_components(std::span<const double> covariance,
                                                 std::size_t d_in, std::size_t k);

// x_hat = mean + sum over components of their projection. x, x_hat [n, D]; components [k, D]; mean
// [D].
void reconstruct_from_components(TensorView<const float> x, std::span<const float> mean,
                                 const Tensor<float>& components, TensorView<float> x_hat);

}  // namespace refract
