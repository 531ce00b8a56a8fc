#pragma once
// An SAE as it is written for others: which tensors there are, what each is, and what is folded
// into them. A variant names them as they were learned, of normalised rows; fold.hpp does the rest.
#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "refract/tensor/tensor.hpp"

namespace refract {

// u: a row as the SAE sees it, without b_dec where that is subtracted. Of feature f, a row of the
// dictionary:
//   pre = encoder . u + encoder_bias;  active where pre > threshold (0 without one)
//   f = pre, or with a log_gain: exp(log_gain) (encoder . u) + magnitude_bias
//   u_hat = sum of f decoder, + decoder_bias
enum class TensorRole {
  encoder,         // [F, D_in]; written transposed, as SAELens holds it
  encoder_bias,    // [F]
  decoder,         // [F, D_out]
  decoder_bias,    // [D_out]
  threshold,       // [F] in units of pre
  magnitude_bias,  // [F]
  log_gain,        // [F]
};
[[nodiscard]] constexpr bool has_feature_axis(TensorRole role) {
  return role != TensorRole::decoder_bias;
}

// u = factor W (x - offset), x = inverse u / factor + offset. Borrowed; W and its inverse are
// symmetric, and the identity where they are empty; offset then too: zeros.
struct AffineMap {
  double factor = 1;
  TensorView<const float> W{}, inverse{};  // [D, D]
  std::span<const float> offset{};         // [D]
};

// A set: in which order they are named does not matter.
struct Folds {
  AffineMap input{}, target{};
  // Rows of the decoder are written with norm 1, activations with what that takes.
  bool unit_rows = false;
};

struct SaeExport {
  std::string architecture;  // cfg.json "architecture"
  std::size_t d_in = 0, d_sae = 0;
  std::size_t first_feature = 0;  // of the tensors, where they hold some of the d_sae features
  std::map<std::string, std::string>
      json_values;  // further cfg.json keys -> JSON text, e.g. {"k", "32"}
  bool apply_b_dec_to_input = true;
  // Features of a row are compared with each other (topk): a factor of each would change the
  // function, so decoder rows keep the norms they have.
  bool ranks_features = false;
  bool free_rows = false;  // decoder rows were not held at norm 1
  // As it follows from the parameters, which it borrows from.
  struct Named {
    std::string name;
    TensorRole role;
    TensorView<const float> values;
  };
  std::vector<Named> tensors;

  // How it was trained, as SAELens' metadata has it: another architecture (empty: this one), and
  // details -> JSON text.
  std::string trained_as{};
  std::map<std::string, std::string> training{};

  // By fold().
  Folds folds{};
  std::string_view normalize_activations = "none";  // what is left to the reader of the folder
};

}  // namespace refract
