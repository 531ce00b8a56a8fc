#pragma once
// An SAE as what is evaluated: in the raw activations' units, whatever its scales.
#include "refract/stages/evaluated_sae.hpp"
#include "refract/stages/reconstructor.hpp"

namespace refract {

class SaeReconstructor final : public Reconstructor {
 public:
  // inference: the exported function; training: as a step selects (BatchTopK among the rows of the
  // call).
  enum class Mode { inference, training };
  explicit SaeReconstructor(const EvaluatedSae& sae, Mode mode = Mode::inference)
      : sae_(sae), mode_(mode) {}
  [[nodiscard]] std::size_t components() const override { return sae_.parameters->d_sae(); }
  [[nodiscard]] bool looks_at_whole_calls() const override { return mode_ == Mode::training; }
  void reconstruct(TensorView<const float> x, std::span<const std::uint8_t> included,
                   SparseActs& acts, TensorView<float> x_hat) override;

 private:
  EvaluatedSae sae_;
  Mode mode_;
  Tensor<float> scaled_;
};

}  // namespace refract
