#pragma once
// Eigenvalues and eigenvectors of a symmetric matrix: LAPACK's dsyevd on one thread (base/
// blas_threads.hpp). Their last bits are those of the BLAS below it, which chooses kernels by
// processor: rounding to fp32 hides most of it, not all.
#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

namespace refract {

enum class Eigen { values, values_and_vectors };

struct SymmetricEigen {
  std::vector<double> values;   // [D] largest first
  std::vector<double> vectors;  // [D, D] row i: the unit vector of values[i], its largest entry
                                // positive; empty where they were not asked for
};

// matrix [D, D]. of: "principal components", without: how to do without them, for messages.
// NumericalError when LAPACK does not converge; ConfigError for more dimensions than its 32-bit
// sizes allow (46,340). About 9 D^3 flops with vectors, 4/3 D^3 without; memory: 3 x the matrix, 2
// x without.
[[nodiscard]] SymmetricEigen symmetric_eigen(std::span<const double> matrix, std::size_t d,
                                             Eigen wanted, std::string_view of,
                                             std::string_view without);

}  // namespace refract
