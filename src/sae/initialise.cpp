#include "refract/sae/initialise.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "refract/base/parallel.hpp"

namespace refract {
namespace {

// Normal draws from number `first` on, normalised.
void unit_row(const CounterRng& rng, std::size_t first, bool non_negative, std::span<float> row) {
  std::vector<double> direction(row.size());
  double squared = 0;
  for (std::size_t d = 0; d < row.size(); ++d) {
    const double draw = rng.normal(first + d);
    direction[d] = non_negative ? std::abs(draw) : draw;
    squared += direction[d] * direction[d];
  }
  for (std::size_t d = 0; d < row.size(); ++d)
    row[d] = static_cast<float>(direction[d] / std::sqrt(squared));
}

}  // namespace

SaeShape shape_of(const SaeConfig& config, const Variant& variant, const SaeWidth& width) {
  return {config.d_sae, width.d_in, width.d_out, variant.has_threshold(), variant.is_gated()};
}

SaeParameters initial_parameters(const SaeConfig& config, const Variant& variant, std::size_t d_in,
                                 std::span<const float> b_dec, Purpose purpose) {
  const std::size_t d_out = b_dec.size();
  SaeParameters made = make_parameters(shape_of(config, variant, {d_in, d_out}));
  made.decoder = decoder_rule(config);
  parallel_for(config.d_sae, [&](std::size_t f) {
    const CounterRng rng(purpose, {config.seed, f});
    unit_row(rng, 0, config.non_negative_decoder, {made.W_dec.row(f)});
    // Tied, where reading and writing are of one space.
    if (input_is_centred(config))
      std::ranges::copy(made.W_dec.row(f), made.W_enc.row(f).begin());
    else
      unit_row(rng, d_out, false, {made.W_enc.row(f)});
  });
  std::copy(b_dec.begin(), b_dec.end(), made.b_dec.data());
  variant.initialise(made);
  return made;
}

SaeState initial_state(const SaeConfig& config, const Variant& variant, std::size_t d_in,
                       std::span<const float> b_dec) {
  SaeState state;
  state.parameters = initial_parameters(config, variant, d_in, b_dec);
  state.m = make_parameters(state.parameters.shape());
  state.v = make_parameters(state.parameters.shape());
  if (config.ema > 0) state.mean = copy(state.parameters);
  state.age = Tensor<std::uint64_t>(Shape{config.d_sae});
  return state;
}

}  // namespace refract
