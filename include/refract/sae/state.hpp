#pragma once
// What an SAE is and what its training carries from step to step: fp32 master weights, Adam
// moments, counters. Weights are feature-major: row f of W_enc and of W_dec belong to feature f.
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "refract/tensor/tensor.hpp"

namespace refract {

struct SaeParameters {
  Tensor<float> W_enc;                // [F, D]
  Tensor<float> b_enc;                // [F]
  Tensor<float> W_dec;                // [F, D], unit rows
  Tensor<float> b_dec;                // [D]
  Tensor<float> threshold;            // [F], or empty: only variants that have one
  bool non_negative_decoder = false;  // W_dec >= 0: its gradient and its update keep to that
  [[nodiscard]] std::size_t d_sae() const { return W_enc.axis(0); }
  [[nodiscard]] std::size_t d_in() const { return W_enc.axis(1); }
};

// Every tensor of the parameters with its name, in a fixed order: what is saved, broadcast,
// compared.
[[nodiscard]] std::vector<std::pair<std::string, TensorView<float>>> named_tensors(
    const SaeParameters& parameters);
[[nodiscard]] SaeParameters make_parameters(std::size_t d_sae, std::size_t d_in,
                                            bool with_threshold);  // zeros
[[nodiscard]] SaeParameters copy(const SaeParameters& parameters);

struct SaeState {
  SaeParameters parameters;
  SaeParameters m, v;              // Adam moments, same shapes
  std::uint64_t step = 0;          // updates done
  std::uint64_t trained_rows = 0;  // distinct included rows seen: those of first passes
  std::vector<std::uint64_t> age;  // [F] included rows (first passes) since the feature last fired
  std::map<std::string, double>
      scalars;  // a variant's own replicated values (threshold EMA ...), sorted by name
};

// What a step reports; deterministic values only. squared_error is the mean over included rows of
// the sum over d_in of the squared error (scaled input); aux_loss is what the variant's loss adds
// to it (AuxK, L1). grad_norm (before clipping) and lr are set by the stage, which alone knows
// them.
struct StepLog {
  double loss = 0, squared_error = 0, aux_loss = 0, l0 = 0, grad_norm = 0, lr = 0;
  std::uint64_t dead = 0, included_rows = 0;
};

struct SaeExport {
  std::string architecture;  // cfg.json "architecture"
  std::size_t d_in = 0, d_sae = 0;
  std::map<std::string, std::string>
      json_values;  // further cfg.json keys -> JSON text, e.g. {"k", "32"}
  // As it follows from the parameters, which it borrows from.
  struct Named {
    std::string name;
    TensorView<const float> values;
    bool transposed = false;  // written with its two axes exchanged
    float divisor = 1;        // each value is divided by
  };
  std::vector<Named>
      tensors;  // W_enc (written [D, F], SAELens' orientation), b_enc, W_dec [F, D], b_dec, ...
};

}  // namespace refract
