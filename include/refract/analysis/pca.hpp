#pragma once
// Principal components, with LAPACK's last bits (ops/symmetric_eigen.hpp). So what is made of them
// (the baselines; nothing that is trained or stored in chunks, checkpoints or features) may differ
// in its last digits when a run is evaluated again on another processor.
#include <cstddef>
#include <span>
#include <vector>

#include "refract/tensor/tensor.hpp"

namespace refract {

struct PrincipalComponents {
  std::vector<double> variances;  // [k] of the rows along each, largest first; never below zero
  Tensor<float> directions;       // [k, D] f32, unit rows; each has its largest entry positive
};

// The k eigenvectors of the symmetric covariance [D, D] with the largest eigenvalues. Throws, and
// costs, as symmetric_eigen().
[[nodiscard]] PrincipalComponents principal_components(std::span<const double> covariance,
                                                       std::size_t d_in, std::size_t k);

}  // namespace refract
