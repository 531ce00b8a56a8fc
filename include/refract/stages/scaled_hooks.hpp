#pragma once
// What an SAE reads, and what it reconstructs: the activations of some hooks, one behind the other
// in a row. Each hook is multiplied by its own calibrated scale, so that none outweighs another by
// the mere size of its activations: under sqrt_d each part has the mean norm sqrt(its width), and
// so the whole one of about sqrt(its width), as that of a single hook has.
// A row that one of the hooks excludes (a sink there) takes part in nothing.
#include <cstdint>
#include <string>
#include <vector>

#include "refract/sae/config.hpp"
#include "refract/sae/variant.hpp"
#include "refract/store/calibration.hpp"
#include "refract/store/chunk.hpp"
#include "refract/tensor/tensor.hpp"

namespace refract {

struct ScaledHook {
  std::string hook;
  std::uint64_t width = 0;
  double scale = 1;  // stored activations times this are what an SAE sees
  friend bool operator==(const ScaledHook&, const ScaledHook&) = default;
};

[[nodiscard]] std::size_t width_of(const std::vector<ScaledHook>& parts);

struct ScaledHooks {
  std::vector<ScaledHook> parts;  // in the order of the row
  // [D] scaled, of each part behind that of the one before. The geometric median of the parts, not
  // of the whole: what b_dec starts from needs no more, and parts are calibrated once for all SAEs.
  std::vector<float> mean, geometric_median;

  [[nodiscard]] std::size_t width() const;  // D
};

// Of an SAE that reads one hook.
[[nodiscard]] SaeScale scale_of(const ScaledHooks& input, const ScaledHooks& target);

// DataError where the calibration lacks a hook, NumericalError where fp32 cannot hold a scale.
[[nodiscard]] ScaledHooks scaled_input(const SaeConfig& config, const CalibrationData& calibration);
[[nodiscard]] ScaledHooks scaled_target(const SaeConfig& config,
                                        const CalibrationData& calibration);

// What b_dec begins as: SaeConfig::b_dec of the target's rows [D_out].
[[nodiscard]] std::vector<float> first_b_dec(const SaeConfig& config, const ScaledHooks& target);

// Rows [first, first + count) of a chunk, [count, D] f32, scaled.
[[nodiscard]] Tensor<float> read_scaled(const ChunkReader& chunk,
                                        const std::vector<ScaledHook>& parts, std::uint64_t first,
                                        std::uint64_t count);
// [count]: 1 where the row takes part in nothing.
[[nodiscard]] std::vector<std::uint8_t> read_excluded(const ChunkReader& chunk,
                                                      const std::vector<ScaledHook>& parts,
                                                      std::uint64_t first, std::uint64_t count);

}  // namespace refract
