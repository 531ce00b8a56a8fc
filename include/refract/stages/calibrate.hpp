#pragma once
// Before chunk 0: a fixed sample of the first window's training contexts passes through the model
// once, and what is measured is frozen for the life of the store (SPEC 3).
#include <cstdint>
#include <span>

#include "refract/stages/block_rows.hpp"
#include "refract/store/calibration.hpp"

namespace refract {

struct CalibrationConfig {
  std::uint64_t rows = 262144;        // rows measured, at most
  std::uint64_t max_tokens = 262144;  // tokens run through the model, at most
};

// Collective: the ranks share the forward passes; the result, on rank 0 alone (empty elsewhere),
// does not depend on their number. input_scale: "sqrt_d" (mean norm of included rows becomes
// sqrt(d)) or "none".
[[nodiscard]] CalibrationData collective_calibrate(
    const CalibrationConfig& config, const LanguageModel& model,
    const std::vector<HookPoint>& hooks, TokenCorpus& corpus,
    std::span<const ContextRef> first_window, const RowRule& rule, double sink_ratio,
    const std::string& input_scale, std::uint64_t store_seed, Communicator& ranks);

// From rows alone, for tests: x [N, D], special[i] != 0 marks rows left out of everything.
[[nodiscard]] HookCalibration measure_hook(TensorView<const float> x,
                                           std::span<const std::uint8_t> special, double sink_ratio,
                                           const std::string& input_scale);

}  // namespace refract
