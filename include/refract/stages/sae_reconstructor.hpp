#pragma once
// An SAE as what is evaluated: in the raw activations' units, whatever it is trained on.
// Activations are those of its export.
#include <memory>
#include <vector>

#include "refract/stages/evaluated_sae.hpp"
#include "refract/stages/reconstructor.hpp"

namespace refract {

class SaeReconstructor final : public Reconstructor {
 public:
  // inference: the exported function; training: as a step selects (BatchTopK among the rows of the
  // call).
  enum class Mode { inference, training };
  explicit SaeReconstructor(const EvaluatedSae& sae, Mode mode = Mode::inference);
  [[nodiscard]] std::size_t components() const override { return sae_.parameters->d_sae(); }
  [[nodiscard]] bool looks_at_whole_calls() const override { return mode_ == Mode::training; }
  void reconstruct(TensorView<const float> x, std::span<const std::uint8_t> included,
                   SparseActs& acts, TensorView<float> x_hat) override;

 private:
  EvaluatedSae sae_;
  Mode mode_;
  std::unique_ptr<RowNormaliser> input_, target_;
  std::vector<float> factors_;  // [F] of activations
  Tensor<float> normalised_, u_hat_;
};

}  // namespace refract
