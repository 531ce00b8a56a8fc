#pragma once
// A variant with a squared error: the error of the decoded entries, AuxK, the sums over the global
// batch and what follows from them. Who derives decides which entries a row has, and what else the
// loss holds.
//
//   x_hat = f W_dec + b_dec;  e = target - x_hat
//   mean over rows |e|^2 + c * mean over rows |e_hat - sg(e)|^2 / mean over rows |e - mean e|^2
//
// e_hat decodes, without b_dec and without ReLU, the k_aux largest pre-activations of dead features
// (Gao et al. 2024; SPEC 6).
#include <optional>

#include "refract/sae/variant.hpp"

namespace refract {

class ReconstructingVariant : public Variant {
 public:
  [[nodiscard]] StepShape shape() const final;
  void prepare(const Step& step) const final;
  void measure(std::size_t round, const Step& step) const final;
  void weigh(const Step& step) const final;
  void gradients(const Step& step, const GradientRows& rows, std::size_t first,
                 TensorView<float> out) const final;
  void finish(const Step& step) const override;

 protected:
  // selection_rounds: those of selection().
  ReconstructingVariant(const SaeConfig& config, std::size_t d_in, const AuxConfig& aux,
                        std::uint64_t dead_after_rows, std::size_t selection_rounds);

  // What the selection needs, and its rounds; AuxK and the rounds that follow are added.
  [[nodiscard]] virtual StepShape selection() const = 0;
  // A round of it; the input is ready and the encoder packed.
  virtual void select(std::size_t round, const Step& step) const = 0;
  // Behind what its last round has summed, where the entries are not chosen by then.
  virtual void keep(const Step&) const {}
  // Weight of the mean sum of activations in the loss of update number `step`, from 0.
  [[nodiscard]] virtual double l1(std::uint64_t /*step*/) const { return 0; }

  // b_dec is subtracted from what is read.
  [[nodiscard]] bool centred() const { return centred_; }
  // What a selection does for AuxK beside its own.
  [[nodiscard]] std::optional<AuxSelection> aux_selection(const Step& step) const;

 private:
  // AuxK entries of a row; 0: off.
  [[nodiscard]] std::size_t aux_k() const { return aux_.coefficient != 0 ? aux_k_ : 0; }
  void begin(const Step& step) const;
  void reconstruct(std::size_t round, const Step& step) const;
  void decode(const Step& step, std::size_t term, const RowEntries& entries,
              TensorView<const float> base) const;
  [[nodiscard]] TensorView<const float> to_explain(const Step& step) const;

  bool centred_;
  AuxConfig aux_;
  std::size_t aux_k_, selection_rounds_;
  std::uint64_t dead_after_rows_;
};

// Inference of rows x [n, D_in]: the entries of `choice`, compressed.
void encode_rows(const SaeParameters& parameters, bool centred, TensorView<const float> x,
                 const Choice& choice, SparseActs& acts);

// The four tensors every SAELens architecture here has.
[[nodiscard]] SaeExport export_common(const std::string& architecture, const SaeParameters& p);

}  // namespace refract
