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
// does not depend on their number. NumericalError as measure_hook, with the hook's name.
// StopRequested, on every rank, once a stop was asked for on any; nothing is written here.
[[nodiscard]] CalibrationData collective_calibrate(const CalibrationConfig& config,
                                                   const LanguageModel& model,
                                                   const std::vector<HookPoint>& hooks,
                                                   TokenCorpus& corpus, std::uint32_t window_shards,
                                                   const RowRule& rule, double sink_ratio,
                                                   std::uint64_t store_seed, Communicator& ranks);

// From rows alone: x [N, D], special[i] != 0 marks rows left out of everything. NumericalError,
// naming `hook`, when a value is not finite, when every included row is zero, or when they (more
// than one) vary by less than a millionth of their size: nothing to scale, or nothing to learn.
[[nodiscard]] HookCalibration measure_hook(const std::string& hook, TensorView<const float> x,
                                           std::span<const std::uint8_t> special,
                                           double sink_ratio);

}  // namespace refract
