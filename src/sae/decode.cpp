#include <algorithm>

#include "refract/base/parallel.hpp"
#include "refract/ops/row_kernels.hpp"
#include "refract/sae/variant.hpp"

namespace refract {
namespace {
constexpr std::size_t kRowsPerItem = 64;
}  // namespace

void decode(const SaeParameters& parameters, const SparseActs& acts, TensorView<float> x_hat) {
  decode(parameters, parameters.b_dec.span(), acts, x_hat);
}

void decode(const SaeParameters& parameters, std::span<const float> b_dec, const SparseActs& acts,
            TensorView<float> x_hat) {
  const std::size_t rows = acts.row_starts.empty() ? 0 : acts.row_starts.size() - 1,
                    d_in = parameters.d_out();
  expect_shape(x_hat, "x_hat", {{"n", rows}, {"D", d_in}});
  parallel_for((rows + kRowsPerItem - 1) / kRowsPerItem, [&](std::size_t panel) {
    std::vector<const float*> directions;
    for (std::size_t row = panel * kRowsPerItem; row < std::min(rows, (panel + 1) * kRowsPerItem);
         ++row) {
      const std::size_t first = acts.row_starts[row], count = acts.row_starts[row + 1] - first;
      directions.resize(count);
      for (std::size_t j = 0; j < count; ++j)
        directions[j] = parameters.W_dec.data() + acts.features[first + j] * d_in;
      float* to = x_hat.data() + row * d_in;
      std::copy_n(b_dec.data(), d_in, to);
      add_scaled_rows(directions.data(), acts.values.data() + first, count, d_in, to);
    }
  });
}

}  // namespace refract
