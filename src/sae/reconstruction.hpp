#pragma once
// What variants with a squared error share: the error of the decoded entries, AuxK, the sums over
// the global batch and what follows from them. A variant decides which entries a row has, and what
// else its loss holds.
//
//   x_hat = f W_dec + b_dec;  e = target - x_hat
//   mean over rows |e|^2 + c * mean over rows |e_hat - sg(e)|^2 / mean over rows |e - mean e|^2
//
// e_hat decodes, without b_dec and without ReLU, the k_aux largest pre-activations of dead features
// (Gao et al. 2024; SPEC 6).
#include <optional>

#include "refract/sae/variant.hpp"

namespace refract {

class Reconstruction {
 public:
  Reconstruction(const SaeConfig& config, std::size_t d_in, const AuxConfig& aux,
                 std::uint64_t dead_after_rows);

  // b_dec is subtracted from what is read.
  [[nodiscard]] bool centred() const { return centred_; }
  // AuxK entries of a row; 0: off.
  [[nodiscard]] std::size_t aux_k() const { return aux_.coefficient != 0 ? aux_k_ : 0; }
  // The rounds that follow those of a variant's selection, to be asked for by number from 0.
  [[nodiscard]] std::vector<Round> rounds() const;
  void measure(std::size_t round, const Step& step) const;

  void prepare(const Step& step) const;
  // Before a selection: the input, centred where it is; the encoder, packed.
  void begin(const Step& step) const;
  // What a selection does for AuxK beside its own.
  [[nodiscard]] std::optional<AuxSelection> aux_selection(const Step& step) const;

  void weigh(const Step& step, double l1 = 0) const;
  void gradients(const Step& step, const GradientRows& rows, std::size_t first,
                 TensorView<float> out) const;
  void finish(const Step& step) const;

 private:
  void decode(const Step& step, std::size_t term, const RowEntries& entries,
              TensorView<const float> base) const;
  [[nodiscard]] TensorView<const float> base(const Step& step) const;

  bool centred_;
  AuxConfig aux_;
  std::size_t aux_k_;
  std::uint64_t dead_after_rows_;
};

// Inference of rows x [n, D_in]: the entries of `choice`, compressed.
void encode_rows(const SaeParameters& parameters, bool centred, TensorView<const float> x,
                 const Choice& choice, SparseActs& acts);
void compress(const RowEntries& entries, SparseActs& acts);

// The four tensors every SAELens architecture here has, for raw (unscaled) input and output.
[[nodiscard]] SaeExport export_common(const std::string& architecture, const SaeParameters& p,
                                      const SaeScale& scale);

}  // namespace refract
