#include "refract/analysis/pca.hpp"

#include <algorithm>

#include "refract/base/error.hpp"
#include "refract/ops/symmetric_eigen.hpp"

namespace refract {

PrincipalComponents principal_components(std::span<const double> covariance, std::size_t d_in,
                                         std::size_t k) {
  REFRACT_ASSERT(k >= 1 && k <= d_in, "d_in {} k {}", d_in, k);
  const SymmetricEigen eigen =
      symmetric_eigen(covariance, d_in, Eigen::values_and_vectors, "principal components",
                      "leave pca, pca_topk and ica out of evaluate.baselines");
  PrincipalComponents out{std::vector<double>(k), Tensor<float>(Shape{k, d_in})};
  for (std::size_t c = 0; c < k; ++c) out.variances[c] = std::max(0.0, eigen.values[c]);
  for (std::size_t i = 0; i < k * d_in; ++i)
    out.directions.data()[i] = static_cast<float>(eigen.vectors[i]);
  return out;
}

}  // namespace refract
