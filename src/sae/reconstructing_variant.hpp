#pragma once
// A variant with a squared error: the error of the decoded entries, a second list's, those of
// prefixes, the sums over the global batch and what follows from them. Who derives decides which
// entries a row has, and what the second list is.
//
//   x_hat = f W_dec + b_dec;  e = target - x_hat
//   mean over rows |e|^2 + what asks for sparsity (sae/penalty.hpp)
//   + sum over prefixes m: mean over rows |target - b_dec - (f of features below m) W_dec|^2
//   + AuxK:  c * mean over rows |e_hat - sg(e)|^2 / mean over rows |e - mean e|^2
//     or, of a gate:  mean over rows |target - (ReLU(pi) sg(W_dec) + sg(b_dec))|^2
//
// e_hat decodes, without b_dec and without ReLU, the k_aux largest pre-activations of dead features
// (Gao et al. 2024; SPEC 6).
#include <optional>

#include "refract/ops/decode_rows.hpp"
#include "refract/ops/refine_entries.hpp"
#include "refract/sae/variant.hpp"
#include "sae/penalty.hpp"

namespace refract {

// What is listed beside the entries: AuxK's; pre-activations pi > 0 of a gate whose magnitude the
// entries are; pre-activations near thresholds, which they move.
enum class Second : std::uint8_t { none, aux_k, gate, window };

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
  struct Own {
    std::size_t selection_rounds = 1;  // those of selection()
    Second second = Second::none;
    std::vector<std::size_t> prefixes{};  // ascending, below d_sae
    double bandwidth = 1;                 // of the window
  };
  ReconstructingVariant(const SaeConfig& config, std::size_t d_in, std::uint64_t dead_after_rows,
                        Own own);

  // What the selection needs, and its rounds; what follows is added.
  [[nodiscard]] virtual StepShape selection() const = 0;
  // A round of it; the input is ready and the encoder packed.
  virtual void select(std::size_t round, const Step& step) const = 0;
  // Behind what its last round has summed, where the entries are not chosen by then.
  virtual void keep(const Step&) const {}

  // b_dec is subtracted from what is read.
  [[nodiscard]] bool centred() const { return centred_; }
  [[nodiscard]] bool has_aux() const { return own_.second == Second::aux_k && aux_k_ > 0; }
  // What a selection does for AuxK beside its own.
  [[nodiscard]] std::optional<AuxSelection> aux_selection(const Step& step) const;
  // Of one row after another, with AuxK's beside them.
  void select_by(const Choice& choice, const Step& step) const;

 private:
  // One error after another, each the one before less what some features add.
  struct Piece {
    std::size_t error;
    FeatureBounds of;
  };
  [[nodiscard]] FeatureBounds in_tile(const FeatureBounds& of, const Step& step) const;
  [[nodiscard]] RowEntries penalised(const Step& step) const;
  void begin(const Step& step) const;
  void reconstruct(std::size_t round, const Step& step) const;
  void summarise(const Step& step) const;
  void subtract_partial(std::size_t piece, const Step& step) const;
  [[nodiscard]] TensorView<const float> base_of(std::size_t piece, const Step& step) const;
  [[nodiscard]] TensorView<const float> to_explain(const Step& step) const;
  [[nodiscard]] GradientTerm main_term(const Step& step, const GradientRows& rows) const;
  [[nodiscard]] GradientTerm second_term(const Step& step, const GradientRows& rows) const;

  bool centred_;
  Own own_;
  double aux_coefficient_;
  std::size_t aux_k_;
  std::uint64_t dead_after_rows_;
  Penalty penalty_;
  std::vector<Piece> pieces_;  // the last is the second list's, where it is decoded
};

// Inference of rows x [n, D_in]: the entries of `choice`, or what a refinement makes of them,
// compressed.
void encode_rows(const SaeParameters& parameters, bool centred, TensorView<const float> x,
                 const Choice& choice, SparseActs& acts, const Refinement* refinement = nullptr);

// The four tensors most SAELens architectures here have.
[[nodiscard]] SaeExport export_common(const std::string& architecture, const SaeParameters& p);

}  // namespace refract
