#include "lm/rotary_config.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace refract {
namespace {

void scale_linearly(const ModelConfig& scaling, std::vector<double>& frequencies) {
  const double factor = scaling.number("factor", 0);
  if (factor < 1) scaling.refuse("factor", "expected a number of 1 or more.");
  for (double& frequency : frequencies) frequency /= factor;
}

// Llama 3.1: pairs that turn seldom within the original length are divided by the factor, those
// that turn often are kept, those between are interpolated.
void scale_llama3(const ModelConfig& scaling, const ModelConfig& config,
                  std::vector<double>& frequencies) {
  constexpr const char* kOriginal = "original_max_position_embeddings";
  const double factor = scaling.number("factor", 0), low = scaling.number("low_freq_factor", 0),
               high = scaling.number("high_freq_factor", 0);
  const std::size_t inner = scaling.size(kOriginal, config.size("max_position_embeddings", 1));
  const auto original = static_cast<double>(config.size(kOriginal, inner));
  if (factor < 1) scaling.refuse("factor", "expected a number of 1 or more.");
  if (low <= 0) scaling.refuse("low_freq_factor", "expected a positive number.");
  if (high <= low) scaling.refuse("high_freq_factor", "expected more than low_freq_factor.");
  for (double& frequency : frequencies) {
    const double turns = original * frequency / (2 * std::numbers::pi);
    const double kept = std::clamp((turns - low) / (high - low), 0.0, 1.0);
    frequency *= kept + (1 - kept) / factor;
  }
}

}  // namespace

std::optional<ModelConfig> rotary_section(const ModelConfig& config) {
  auto scaling = config.section("rope_scaling");
  return scaling && !scaling->is_empty() ? scaling : config.section("rope_parameters");
}

std::vector<double> rotary_frequencies(std::size_t half, double theta, const ModelConfig& config,
                                       const std::optional<ModelConfig>& section) {
  if (theta <= 0) config.refuse("rope_theta", "expected a positive number.");
  std::vector<double> frequencies(half);
  for (std::size_t i = 0; i < half; ++i)
    frequencies[i] = std::pow(theta, -static_cast<double>(i) / static_cast<double>(half));
  if (!section) return frequencies;
  const std::string type = section->word("rope_type", section->word("type", "default"));
  if (type == "linear")
    scale_linearly(*section, frequencies);
  else if (type == "llama3")
    scale_llama3(*section, config, frequencies);
  else if (type != "default")
    section->refuse(section->has("rope_type") ? "rope_type" : "type",
                    "expected default, linear or llama3.");
  return frequencies;
}

std::vector<double> rotary_frequencies(std::size_t head_width, const ModelConfig& config) {
  const auto section = rotary_section(config);
  const double outer = config.number("rope_theta", 10000);
  const double theta = section ? section->number("rope_theta", outer) : outer;
  for (const ModelConfig* const from : {&config, section ? &*section : &config})
    if (from->number("partial_rotary_factor", 1) != 1)
      from->refuse("partial_rotary_factor", "expected 1: heads of this family turn whole.");
  return rotary_frequencies(head_width / 2, theta, config, section);
}

}  // namespace refract
