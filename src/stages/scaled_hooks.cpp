#include "refract/stages/scaled_hooks.hpp"

#include <algorithm>
#include <span>

namespace refract {
namespace {

void append_scaled(std::vector<float>& to, std::span<const float> values, double scale) {
  for (const float value : values) to.push_back(value * static_cast<float>(scale));
}

ScaledHooks scaled_hooks(const std::vector<std::string>& hooks, const std::string& normalize,
                         const CalibrationData& calibration) {
  ScaledHooks out;
  for (const std::string& name : hooks) {
    const HookCalibration& hook = calibration.of(name);
    const double scale = input_scale(hook, normalize);
    out.parts.push_back({name, hook.d_in, scale});
    append_scaled(out.mean, hook.mean, scale);
    append_scaled(out.geometric_median, hook.geometric_median, scale);
  }
  return out;
}

Tensor<float> read_part(const ChunkReader& chunk, const ScaledHook& part, std::uint64_t first,
                        std::uint64_t count) {
  Tensor<float> x(Shape{count, part.width});
  chunk.read_rows(chunk.hook_index(part.hook), first, count, x.span());
  for (float& value : x.span()) value *= static_cast<float>(part.scale);
  return x;
}

}  // namespace

std::size_t width_of(const std::vector<ScaledHook>& parts) {
  std::size_t width = 0;
  for (const ScaledHook& part : parts) width += part.width;
  return width;
}

std::size_t ScaledHooks::width() const { return width_of(parts); }

SaeScale scale_of(const ScaledHooks& input, const ScaledHooks& target) {
  return {static_cast<float>(input.parts.front().scale),
          static_cast<float>(target.parts.front().scale)};
}

ScaledHooks scaled_input(const SaeConfig& config, const CalibrationData& calibration) {
  return scaled_hooks(config.hooks, config.normalize, calibration);
}

ScaledHooks scaled_target(const SaeConfig& config, const CalibrationData& calibration) {
  return scaled_hooks(target_hooks(config), config.normalize, calibration);
}

std::vector<float> first_b_dec(const SaeConfig& config, const ScaledHooks& target) {
  if (config.b_dec == "zero") return std::vector<float>(target.width());
  return config.b_dec == "mean" ? target.mean : target.geometric_median;
}

Tensor<float> read_scaled(const ChunkReader& chunk, const std::vector<ScaledHook>& parts,
                          std::uint64_t first, std::uint64_t count) {
  if (parts.size() == 1) return read_part(chunk, parts.front(), first, count);
  Tensor<float> x(Shape{count, width_of(parts)});
  std::size_t column = 0;
  for (const ScaledHook& part : parts) {
    const Tensor<float> own = read_part(chunk, part, first, count);
    for (std::size_t row = 0; row < count; ++row)
      std::ranges::copy(own.row(row), x.row(row).begin() + static_cast<std::ptrdiff_t>(column));
    column += part.width;
  }
  return x;
}

std::vector<std::uint8_t> read_excluded(const ChunkReader& chunk,
                                        const std::vector<ScaledHook>& parts, std::uint64_t first,
                                        std::uint64_t count) {
  std::vector<std::uint8_t> excluded(count);
  for (const ScaledHook& part : parts) {
    const auto own = chunk.read_excluded(chunk.hook_index(part.hook), first, count);
    for (std::size_t i = 0; i < count; ++i) excluded[i] |= own[i];
  }
  return excluded;
}

}  // namespace refract
