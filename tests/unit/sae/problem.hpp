#pragma once
// A small random SAE and batch, the same for every test that asks with the same numbers.
#include <algorithm>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "refract/base/random.hpp"
#include "refract/sae/initialise.hpp"
#include "refract/sae/variant.hpp"
#include "refract/stages/train.hpp"
#include "support/any_variant.hpp"

namespace refract::testing_support {

// A TrainedSae with a batch.
struct Problem : TrainedSae {
  Tensor<float> x, y;  // y: what a transcoder reconstructs; else empty
  std::vector<std::uint8_t> included;
  std::size_t slice_rows = 0;

  [[nodiscard]] Batch batch() const { return part(0, x.axis(0)); }
  // The rows a rank with `rows` rows from `first` would hold.
  [[nodiscard]] Batch part(std::size_t first, std::size_t rows) const {
    return {.x = x.cview().rows(first, rows),
            .target = (y.size() != 0 ? y : x).cview().rows(first, rows),
            .included = {included.data() + first, Shape{rows}},
            .first_row = first,
            .rows = x.axis(0),
            .slice_rows = slice_rows,
            .first_pass = true};
  }
};

inline void fill_normal(std::span<float> values, std::uint64_t seed, double scale) {
  const CounterRng rng(Purpose::test, {seed});
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(scale * rng.normal(i));
}

inline constexpr std::uint64_t kDeadAfter = 1000;

// `dead`: every third feature is dead. Weights are untied and biases set, so that every gradient is
// non-trivial.
inline Problem make_problem(std::size_t d_in, std::size_t d_sae, std::size_t k, std::size_t rows,
                            std::size_t slice_rows, bool dead, std::uint64_t seed = 7,
                            const std::string& variant = "topk",
                            const std::function<void(SaeConfig&)>& change = {}) {
  Problem made;
  SaeConfig plain;
  plain.name = "test";
  plain.hooks = {"blocks.0.hook_resid_post"};
  plain.d_sae = d_sae;
  plain.k = k;
  plain.seed = seed;
  made.config = as_variant(plain, variant);
  if (has_setting(made.config, OwnSetting::aux)) made.config.aux.coefficient = 0.5;
  if (has_setting(made.config, OwnSetting::prefixes) && d_sae >= 48)
    made.config.prefixes = {"7", "40"};
  if (change) change(made.config);
  made.variant = make_variant(made.config, d_in, kDeadAfter);
  std::vector<float> median(d_in);
  fill_normal(median, seed + 1, 0.3);
  made.input = made.target = {.parts = {{.hook = made.config.hooks[0], .width = d_in}},
                              .mean = std::vector<float>(d_in),
                              .geometric_median = median};
  made.state = initial_state(made.config, *made.variant, d_in, median);
  fill_normal(made.state.parameters.W_enc.span(), seed + 2, 0.4);
  fill_normal(made.state.parameters.b_enc.span(), seed + 3, 0.2);
  for (Tensor<float> SaeParameters::*own : {&SaeParameters::b_mag, &SaeParameters::r_mag})
    fill_normal((made.state.parameters.*own).span(), seed + 5, 0.2);
  if (made.config.decoder_norm == "free")
    for (std::size_t f = 0; f < d_sae; ++f)
      for (float& value : made.state.parameters.W_dec.row(f))
        value *= 0.5F + static_cast<float>(f % 5) * 0.25F;
  made.x = Tensor<float>(Shape{rows, d_in});
  fill_normal(made.x.span(), seed + 4, 1.0);
  made.included.assign(rows, 1);
  for (std::size_t row = 3; row < rows; row += 7) made.included[row] = 0;
  made.slice_rows = slice_rows;
  if (dead)
    for (std::size_t f = 0; f < d_sae; f += 3) {
      made.state.age.data()[f] = kDeadAfter;
      made.state.parameters.b_enc.data()[f] -= 6;  // as a dead feature is: never selected
    }
  return made;
}

// The same rows and b_enc, and rows of another width that it reconstructs.
inline Problem make_transcoder_problem(std::size_t d_in, std::size_t d_out, std::size_t d_sae,
                                       std::size_t rows, std::size_t slice_rows, bool dead,
                                       std::uint64_t seed = 7) {
  Problem made = make_problem(d_in, d_sae, 0, rows, slice_rows, dead, seed, "relu");
  made.config.hooks = {"blocks.0.ln2.hook_normalized"};
  made.config.target_hook = "blocks.0.hook_mlp_out";
  made.variant = make_variant(made.config, d_in, kDeadAfter);
  std::vector<float> median(d_out);
  fill_normal(median, seed + 5, 0.3);
  made.input.parts.front().hook = made.config.hooks.front();
  made.target = {.parts = {{.hook = made.config.target_hook, .width = d_out}},
                 .mean = std::vector<float>(d_out),
                 .geometric_median = median};
  SaeState state = initial_state(made.config, *made.variant, d_in, median);
  std::ranges::copy(made.state.parameters.W_enc.span(), state.parameters.W_enc.data());
  std::ranges::copy(made.state.parameters.b_enc.span(), state.parameters.b_enc.data());
  std::ranges::copy(made.state.age.span(), state.age.data());
  made.state = std::move(state);
  made.y = Tensor<float>(Shape{rows, d_out});
  fill_normal(made.y.span(), seed + 6, 1.0);
  return made;
}

// BatchTopK whose last places go to equals that lie on several ranks, behind rows that hold larger
// values: feature 2 is larger in odd rows and absent from even ones.
inline Problem tied_problem() {
  Problem problem = make_problem(4, 8, 3, 12, 2, false, 7, "batchtopk");
  SaeParameters& p = problem.state.parameters;
  std::ranges::fill(p.W_enc.span(), 0.0F);
  std::ranges::fill(p.b_enc.span(), 0.5F);
  p.W_enc.row(2)[0] = 1;
  problem.included = {1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 0};
  for (std::size_t row = 0; row < 12; ++row)
    problem.x.row(row)[0] = p.b_dec.data()[0] + (row % 2 == 1 ? 1.0F : -2.0F);
  return problem;
}

}  // namespace refract::testing_support
