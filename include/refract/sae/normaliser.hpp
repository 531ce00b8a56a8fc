#pragma once
// What an SAE sees in place of the stored activations of one hook (saes[].normalize), and the way
// back. The one place that knows the words.
//
//   none         u = x
//   sqrt_d       u = s x                            s = sqrt(D) / mean norm, calibrated
//   layer_norm   u = (x - mean) / (std + 1e-5)      of the row itself (ops/row_norm.hpp)
//   whiten       u = W (x - mean)                   ZCA, calibrated (metrics/isotropy.hpp)
//
// A row's result depends on that row alone: not on how many there are, on ranks or threads.
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "refract/ops/gather_rows.hpp"
#include "refract/sae/export.hpp"
#include "refract/store/calibration.hpp"
#include "refract/tensor/tensor.hpp"

namespace refract {

// At work on one device, for one caller at a time.
class RowNormaliser {
 public:
  virtual ~RowNormaliser() = default;
  // The given stored rows, normalised, in the columns [column, column + stored.width) of u [n, D].
  // A map of whole rows (not none, not sqrt_d) takes columns that are all there are.
  virtual void gather(const StoredRows& stored, TensorView<const std::uint32_t> rows,
                      std::size_t column, TensorView<float> u, Stream& stream) = 0;
  // u [n, D] = rows x [n, D], elsewhere.
  virtual void to(TensorView<const float> x, TensorView<float> u, Stream& stream) = 0;
  // x_hat [n, D] = u_hat [n, D] in raw units, elsewhere. x [n, D]: the rows that were
  // reconstructed, looked at where each has units of its own.
  virtual void back(TensorView<const float> x, TensorView<const float> u_hat,
                    TensorView<float> x_hat, Stream& stream) = 0;
};

class Normaliser {
 public:
  virtual ~Normaliser() = default;
  // Of a point that stands for many rows, as their mean and median do.
  [[nodiscard]] virtual std::vector<float> of_point(std::span<const float> x) const = 0;
  // What an export can fold; of layer_norm nothing.
  [[nodiscard]] virtual AffineMap affine() const { return {}; }
  // What it cannot: cfg.json "normalize_activations".
  [[nodiscard]] virtual std::string_view normalize_activations() const { return "none"; }
  // Does not borrow from this.
  [[nodiscard]] virtual std::unique_ptr<RowNormaliser> on(Device device) const = 0;
};
using SharedNormaliser = std::shared_ptr<const Normaliser>;

[[nodiscard]] std::span<const std::string_view> normalize_words();
// NumericalError where fp32 cannot hold it, or the rows do not vary; DataError where the
// calibration was made before it kept what is asked for; REFRACT_ASSERT for another word.
[[nodiscard]] SharedNormaliser make_normaliser(const HookCalibration& hook,
                                               std::string_view normalize);
[[nodiscard]] SharedNormaliser scaling(double factor);  // u = factor x
// Whether another set of rows than the one that is read can be put back: a transcoder's target.
[[nodiscard]] bool restores_other_rows(std::string_view normalize);
// Whether several hooks may stand side by side in a row.
[[nodiscard]] bool takes_several_hooks(std::string_view normalize);
// What one at work on a device holds, for the plan.
[[nodiscard]] std::size_t normaliser_bytes(std::string_view normalize, std::size_t width,
                                           std::size_t rows, Device device);

}  // namespace refract
