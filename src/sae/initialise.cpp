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

SaeParameters initial_parameters(const SaeConfig& config, const Variant& variant, std::size_t d_in,
                                 std::span<const float> scaled_median, Purpose purpose) {
  const std::size_t d_out = scaled_median.size();
  SaeParameters made = make_parameters(
      {.d_sae = config.d_sae, .d_in = d_in, .d_out = d_out, .threshold = variant.has_threshold()});
  made.non_negative_decoder = config.non_negative_decoder;
  parallel_for(config.d_sae, [&](std::size_t f) {
    const CounterRng rng(purpose, {config.seed, f});
    unit_row(rng, 0, config.non_negative_decoder, {made.W_dec.row(f)});
    // Tied, where reading and writing are of one space.
    if (input_is_centred(config))
      std::ranges::copy(made.W_dec.row(f), made.W_enc.row(f).begin());
    else
      unit_row(rng, d_out, false, {made.W_enc.row(f)});
  });
  std::copy(scaled_median.begin(), scaled_median.end(), made.b_dec.data());
  return made;
}

SaeState initial_state(const SaeConfig& config, const Variant& variant, std::size_t d_in,
                       std::span<const float> scaled_median) {
  SaeState state;
  state.parameters = initial_parameters(config, variant, d_in, scaled_median);
  state.m = make_parameters(state.parameters.shape());
  state.v = make_parameters(state.parameters.shape());
  state.age = Tensor<std::uint64_t>(Shape{config.d_sae});
  return state;
}

}  // namespace refract
