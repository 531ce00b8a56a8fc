#include "refract/stages/normalised_hooks.hpp"

#include <algorithm>
#include <numeric>

namespace refract {
namespace {

void append(std::vector<float>& to, const std::vector<float>& values) {
  to.insert(to.end(), values.begin(), values.end());
}

NormalisedHooks normalised_hooks(const std::vector<std::string>& hooks,
                                 const std::string& normalize, const CalibrationData& calibration) {
  NormalisedHooks out;
  for (const std::string& name : hooks) {
    const HookCalibration& hook = calibration.of(name);
    const NormalisedHook& part =
        out.parts.emplace_back(name, hook.d_in, normalize, make_normaliser(hook, normalize));
    append(out.mean, part.normaliser->of_point(hook.mean));
    append(out.geometric_median, part.normaliser->of_point(hook.geometric_median));
  }
  return out;
}

}  // namespace

std::size_t width_of(const std::vector<NormalisedHook>& parts) {
  std::size_t width = 0;
  for (const NormalisedHook& part : parts) width += part.width;
  return width;
}

std::size_t NormalisedHooks::width() const { return width_of(parts); }

SaeSpaces spaces_of(const NormalisedHooks& input, const NormalisedHooks& target) {
  return {input.parts.front().normaliser, target.parts.front().normaliser};
}

NormalisedHooks normalised_input(const SaeConfig& config, const CalibrationData& calibration) {
  return normalised_hooks(config.hooks, config.normalize, calibration);
}

NormalisedHooks normalised_target(const SaeConfig& config, const CalibrationData& calibration) {
  return normalised_hooks(target_hooks(config), config.normalize, calibration);
}

std::vector<float> first_b_dec(const SaeConfig& config, const NormalisedHooks& target) {
  if (config.b_dec == "zero") return std::vector<float>(target.width());
  return config.b_dec == "mean" ? target.mean : target.geometric_median;
}

NormalisedReader::NormalisedReader(const std::vector<NormalisedHook>& parts) : parts_(parts) {
  for (const NormalisedHook& part : parts) normalisers_.push_back(part.normaliser->on({}));
}

Tensor<float> NormalisedReader::read(const ChunkReader& chunk, std::uint64_t first,
                                     std::uint64_t count) {
  Tensor<float> u(Shape{count, width_of(parts_)});
  Tensor<std::uint32_t> rows(Shape{count});
  std::iota(rows.data(), rows.data() + count, 0U);
  Stream host;
  std::size_t column = 0;
  for (std::size_t p = 0; p < parts_.size(); ++p) {
    const std::size_t hook = chunk.hook_index(parts_[p].hook), width = parts_[p].width;
    const DType dtype = chunk.spec().dtype;
    const Tensor<std::byte> stored(Shape{count, width * byte_size(dtype)});
    chunk.read_stored(hook, first, count, stored.span());
    normalisers_[p]->gather({stored.cview(), dtype, width}, rows.cview(), column, u.view(), host);
    column += width;
  }
  return u;
}

std::vector<std::uint8_t> read_excluded(const ChunkReader& chunk,
                                        const std::vector<NormalisedHook>& parts,
                                        std::uint64_t first, std::uint64_t count) {
  std::vector<std::uint8_t> excluded(count);
  for (const NormalisedHook& part : parts) {
    const auto own = chunk.read_excluded(chunk.hook_index(part.hook), first, count);
    for (std::size_t i = 0; i < count; ++i) excluded[i] |= own[i];
  }
  return excluded;
}

}  // namespace refract
