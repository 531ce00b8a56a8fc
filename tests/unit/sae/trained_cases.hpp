#pragma once
// Every variant, and every penalty and rule of the decoder with some that have them: what tests of
// a step take.
#include <algorithm>
#include <functional>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "unit/sae/problem.hpp"

namespace refract::testing_support {

using Change = std::function<void(SaeConfig&)>;
struct TrainedCase {
  std::string name, variant;
  Change change{};
};
inline void PrintTo(const TrainedCase& of, std::ostream* out) { *out << of.name; }

inline Change penalty(const PenaltyConfig& to) {
  return [=](SaeConfig& c) { c.penalty = to; };
}
inline Change free_rows(const PenaltyConfig& to) {
  return [=](SaeConfig& c) {
    c.penalty = to;
    c.decoder_norm = "free";
  };
}

inline void falling_k(SaeConfig& c) {  // over 6 of 200 steps
  c.k_start = 11;
  c.k_decay = 0.03;
}

inline void mean_of_falling_k(SaeConfig& c) {
  falling_k(c);
  c.ema = 0.9;
}

inline const std::vector<TrainedCase>& trained_cases() {
  static const std::vector<TrainedCase> all{
      {"topk", "topk"},
      {"topk_l1", "topk", penalty({.kind = "l1", .coefficient = 0.2})},
      {"topk_free", "topk", free_rows({})},
      {"topk_falling_k", "topk", falling_k},
      {"abstopk", "abstopk"},
      {"abstopk_tanh", "abstopk", penalty({.kind = "tanh", .coefficient = 0.3, .steepness = 2})},
      {"abstopk_l1_free", "abstopk", free_rows({.kind = "l1", .coefficient = 0.3})},
      {"batchtopk", "batchtopk"},
      {"batchtopk_mean", "batchtopk", mean_of_falling_k},
      {"matryoshka", "matryoshka"},
      {"matryoshka_l1", "matryoshka", penalty({.kind = "l1", .coefficient = 0.2})},
      {"relu", "relu"},
      {"relu_resampled", "relu", [](SaeConfig& c) { c.resample = {.every_steps = 6, .until = 1}; }},
      {"relu_tanh", "relu", penalty({.kind = "tanh", .coefficient = 0.7, .steepness = 1.5})},
      {"relu_kl", "relu",
       penalty({.kind = "kl", .coefficient = 0.05, .target = 0.02, .steepness = 1.5})},
      {"relu_l1_free", "relu", free_rows({.kind = "l1", .coefficient = 0.5})},
      {"relu_l1_free_plain", "relu",
       free_rows({.kind = "l1", .coefficient = 0.5, .weighted = false})},
      {"relu_tanh_free", "relu", free_rows({.kind = "tanh", .coefficient = 0.5, .steepness = 1})},
      {"jumprelu", "jumprelu"},
      {"jumprelu_l0", "jumprelu", penalty({.kind = "l0", .coefficient = 0.1})},
      {"jumprelu_tanh", "jumprelu", penalty({.kind = "tanh", .coefficient = 0.3, .steepness = 2})},
      {"jumprelu_kl", "jumprelu",
       penalty({.kind = "kl", .coefficient = 0.05, .target = 0.05, .steepness = 2})},
      {"gated", "gated"},
      {"gated_tanh", "gated", penalty({.kind = "tanh", .coefficient = 0.3, .steepness = 2})},
      {"gated_kl", "gated",
       penalty({.kind = "kl", .coefficient = 0.05, .target = 0.05, .steepness = 2})},
      {"gated_l1_free", "gated", free_rows({.kind = "l1", .coefficient = 0.3})},
      {"transcoder", "transcoder"},
  };
  return all;
}

// Those that differ in what ranks exchange or devices compute; the others differ in numbers alone.
inline std::vector<TrainedCase> distinct_cases() {
  std::vector<TrainedCase> some;
  for (const TrainedCase& one : trained_cases())
    for (const std::string_view name :
         {"topk", "topk_l1", "topk_falling_k", "abstopk", "abstopk_l1_free", "batchtopk",
          "batchtopk_mean", "matryoshka", "relu", "relu_resampled", "relu_kl", "relu_tanh_free",
          "jumprelu", "jumprelu_tanh", "jumprelu_kl", "gated", "gated_kl", "transcoder"})
      if (one.name == name) some.push_back(one);
  return some;
}

struct ProblemSize {
  std::size_t d_in, d_out, d_sae, rows, slice_rows;  // d_out: of a transcoder
};
inline Problem problem_of(const TrainedCase& of, const ProblemSize& size, bool dead) {
  return of.variant == "transcoder" ? make_transcoder_problem(size.d_in, size.d_out, size.d_sae,
                                                              size.rows, size.slice_rows, dead)
                                    : make_problem(size.d_in, size.d_sae, 5, size.rows,
                                                   size.slice_rows, dead, 7, of.variant, of.change);
}

}  // namespace refract::testing_support
