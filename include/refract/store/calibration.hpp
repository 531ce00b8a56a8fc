#pragma once
// What is measured once before chunk 0 and frozen for the life of the store: schema calibration,
// SPEC 3.
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "refract/store/artifact.hpp"
#include "refract/tensor/tensor.hpp"

namespace refract {

// ZCA whitening of a hook (metrics/isotropy.hpp), shared by all SAEs that are trained on it.
struct WhiteningMaps {
  Tensor<float> W, inverse;  // [D, D] symmetric: u = W (x - mean), x = inverse u + mean
};

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
  // Null where the rows do not vary, and in a calibration made before it was kept.
  std::shared_ptr<const WhiteningMaps> whitening{};
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
