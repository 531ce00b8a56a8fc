#pragma once
// What is measured once before chunk 0 and frozen for the life of the store: schema calibration,
// SPEC 3.
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "refract/store/artifact.hpp"

namespace refract {

struct HookCalibration {
  std::string hook;
  std::uint64_t d_in = 0;
  std::uint64_t rows = 0;               // included rows measured
  std::uint64_t tokens = 0;             // tokens run through the model
  double median_norm = 0;               // L2, non-special rows
  double sink_threshold = 0;            // L2 norm above which a row is a sink
  double mean_norm = 0;                 // L2, included rows
  std::vector<float> mean;              // [D]
  std::vector<float> geometric_median;  // [D]
  std::vector<double> covariance;       // [D, D]
  std::vector<float> int8_scales;       // [D] activation = int8 * scale
};

// The one rule of what a sink is.
[[nodiscard]] inline bool is_sink(double norm, double sink_threshold) {
  return norm > sink_threshold;
}

struct CalibrationData {
  std::vector<HookCalibration> hooks;
  [[nodiscard]] const HookCalibration& of(
      std::string_view hook) const;  // DataError lists the hooks there are
};

// What stored activations of the hook are multiplied by before an SAE sees them: 1 for "none",
// sqrt(d_in) / mean_norm for "sqrt_d". The one source of it: nothing of training is stored in a
// calibration. NumericalError where fp32 cannot hold it; REFRACT_ASSERT for another word.
[[nodiscard]] double input_scale(const HookCalibration& hook, std::string_view normalize);

// Written whole under its final name; returns the content digest.
std::string write_calibration(const std::filesystem::path& path, const CalibrationData& data,
                              const Parents& parents);

struct Calibration {
  CalibrationData data;
  ArtifactHeader header;
  std::string content_digest;
};
// Reads and verifies it whole; Damaged when any byte is not what was written.
[[nodiscard]] Calibration read_calibration(const std::filesystem::path& path,
                                           const Parents& expected = {});

}  // namespace refract
