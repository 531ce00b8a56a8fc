#pragma once
// The linear baseline: reconstruction from k principal components. The components are LAPACK's, and
// their last bits are those of the BLAS below it, which chooses kernels by processor and thread
// count: rounding to fp32 hides most of it, not all. So the baseline (and nothing that is trained
// or stored in chunks, checkpoints or features) may differ in its last digits when a run is
// evaluated again on another processor.
#include <cstddef>
#include <span>

#include "refract/tensor/tensor.hpp"

namespace refract {

// The k eigenvectors of the symmetric covariance [D, D] with the largest eigenvalues, largest
// first; each has its largest entry positive. Throws NumericalError when LAPACK does not converge,
// ConfigError for more dimensions than its 32-bit sizes allow (46,340).
[[nodiscard]] Tensor<float> principal_components(std::span<const double> covariance,
                                                 std::size_t d_in, std::size_t k);

// x_hat = mean + sum over components of their projection. x, x_hat [n, D]; components [k, D]; mean
// [D].
void reconstruct_from_components(TensorView<const float> x, std::span<const float> mean,
                                 const Tensor<float>& components, TensorView<float> x_hat);

}  // namespace refract
