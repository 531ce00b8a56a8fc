#include "refract/sae/initialise.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "refract/base/parallel.hpp"

namespace refract {

SaeParameters initial_parameters(const SaeConfig& config, const Variant& variant,
                                 std::span<const float> scaled_median, Purpose purpose) {
  const std::size_t d_in = scaled_median.size();
  SaeParameters made = make_parameters(config.d_sae, d_in, variant.has_threshold());
  made.non_negative_decoder = config.non_negative_decoder;
  parallel_for(config.d_sae, [&](std::size_t f) {
    const CounterRng rng(purpose, {config.seed, f});
    std::vector<double> direction(d_in);
    double squared = 0;
    for (std::size_t d = 0; d < d_in; ++d) {
      direction[d] = config.non_negative_decoder ? std::abs(rng.normal(d)) : rng.normal(d);
      squared += direction[d] * direction[d];
    }
    float* decoder = made.W_dec.data() + f * d_in;
    for (std::size_t d = 0; d < d_in; ++d)
      decoder[d] = static_cast<float>(direction[d] / std::sqrt(squared));
    std::copy_n(decoder, d_in, made.W_enc.data() + f * d_in);
  });
  std::copy(scaled_median.begin(), scaled_median.end(), made.b_dec.data());
  return made;
}

SaeState initial_state(const SaeConfig& config, const Variant& variant,
                       std::span<const float> scaled_median) {
  const bool threshold = variant.has_threshold();
  SaeState state;
  state.parameters = initial_parameters(config, variant, scaled_median);
  state.m = make_parameters(config.d_sae, scaled_median.size(), threshold);
  state.v = make_parameters(config.d_sae, scaled_median.size(), threshold);
  state.age.assign(config.d_sae, 0);
  return state;
}

}  // namespace refract
