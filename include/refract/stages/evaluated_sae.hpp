#pragma once
#include "refract/sae/config.hpp"
#include "refract/sae/variant.hpp"
#include "refract/stages/normalised_hooks.hpp"
#include "refract/store/calibration.hpp"

namespace refract {

// What is evaluated; borrowed.
struct EvaluatedSae {
  const SaeConfig* config = nullptr;
  const Variant* variant = nullptr;
  const SaeParameters* parameters = nullptr;
  SaeSpaces spaces{};
};

// Of what it reads and of what it reconstructs: the same hook, but of a transcoder. Borrowed.
struct EvaluatedHooks {
  const HookCalibration& input;
  const HookCalibration& target;
  [[nodiscard]] bool are_one() const { return input.hook == target.hook; }
};
// Of an SAE that reads one hook.
[[nodiscard]] inline EvaluatedHooks evaluated_hooks(const SaeConfig& sae,
                                                    const CalibrationData& calibration) {
  return {calibration.of(only_hook(sae)), calibration.of(only_target_hook(sae))};
}

}  // namespace refract
