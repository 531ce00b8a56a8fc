#include "refract/store/calibration.hpp"

#include <algorithm>

#include "refract/base/error.hpp"
#include "refract/store/table_file.hpp"

namespace refract {
namespace {

constexpr const char* kSchema = "calibration";
constexpr const char *kWhitening = "whitening", *kUnwhitening = "unwhitening";

// Scalars are [hooks] columns, so that all hooks are seen side by side.
template <typename T>
std::vector<T> gather(const std::vector<HookCalibration>& hooks, T HookCalibration::*field) {
  std::vector<T> values;
  for (const HookCalibration& hook : hooks) values.push_back(hook.*field);
  return values;
}

template <typename T>
void scatter(const std::vector<T>& values, std::vector<HookCalibration>& hooks,
             T HookCalibration::*field) {
  if (values.size() != hooks.size())
    throw Damaged("a calibration has {} values for {} hooks: it was not written by refract",
                  values.size(), hooks.size());
  for (std::size_t i = 0; i < hooks.size(); ++i) hooks[i].*field = values[i];
}

std::span<const float> as_values(const Tensor<float>& matrix) { return matrix.span(); }

Tensor<float> as_matrix(const std::vector<float>& values, const HookCalibration& hook) {
  if (values.size() != hook.d_in * hook.d_in)
    throw Damaged("a calibration whitens {} by {} values: it was not written by refract", hook.hook,
                  values.size());
  Tensor<float> made(Shape{hook.d_in, hook.d_in});
  std::ranges::copy(values, made.data());
  return made;
}

}  // namespace

const HookCalibration& CalibrationData::of(std::string_view hook) const {
  std::vector<std::string_view> names;
  for (const HookCalibration& candidate : hooks) {
    if (candidate.hook == hook) return candidate;
    names.push_back(candidate.hook);
  }
  throw DataError(
      "calibration has no hook {}; it has: {}. Name one of these, or begin a new store with the "
      "hook in hooks",
      hook, fmt::join(names, ", "));
}

std::string write_calibration(const std::filesystem::path& path, const CalibrationData& data,
                              const Parents& parents) {
  TableWriter table(path, {kSchema, kSchemaVersion, "calibrate", parents, {}});
  const std::vector<HookCalibration>& hooks = data.hooks;
  table.add_strings("hook", gather(hooks, &HookCalibration::hook), "hooks");
  table.add("d_in", gather(hooks, &HookCalibration::d_in), "hooks");
  table.add("rows", gather(hooks, &HookCalibration::rows), "hooks");
  table.add("tokens", gather(hooks, &HookCalibration::tokens), "hooks");
  table.add("median_norm", gather(hooks, &HookCalibration::median_norm), "hooks");
  table.add("sink_threshold", gather(hooks, &HookCalibration::sink_threshold), "hooks");
  table.add("mean_norm", gather(hooks, &HookCalibration::mean_norm), "hooks");
  for (const HookCalibration& hook : hooks) {
    const std::string folder = "hooks/" + hook.hook + "/";
    const std::size_t d = hook.d_in;
    REFRACT_ASSERT(hook.mean.size() == d && hook.geometric_median.size() == d &&
                       hook.int8_scales.size() == d && hook.covariance.size() == d * d,
                   "{}: arrays do not fit d_in {}", hook.hook, d);
    table.add(folder + "mean", hook.mean, "D");
    table.add(folder + "geometric_median", hook.geometric_median, "D");
    table.add(folder + "int8_scales", hook.int8_scales, "D");
    table.add_matrix(folder + "covariance", std::span<const double>(hook.covariance), d, d, "D,D");
    if (!hook.whitening) continue;
    expect_shape(hook.whitening->W.cview(), "W", {{"D", d}, {"D", d}});
    table.add_matrix(folder + kWhitening, as_values(hook.whitening->W), d, d, "D,D");
    table.add_matrix(folder + kUnwhitening, as_values(hook.whitening->inverse), d, d, "D,D");
  }
  return table.finish();
}

Calibration read_calibration(const std::filesystem::path& path, const Parents& expected) {
  const TableFile file(path, {kSchema, kSchemaVersion, expected});
  file.verify_content();
  Calibration calibration{{}, file.header(), file.content_digest()};
  std::vector<HookCalibration>& hooks = calibration.data.hooks;
  const std::vector<std::string> names = file.read_strings("hook");
  hooks.resize(names.size());
  scatter(names, hooks, &HookCalibration::hook);
  scatter(file.read<std::uint64_t>("d_in"), hooks, &HookCalibration::d_in);
  scatter(file.read<std::uint64_t>("rows"), hooks, &HookCalibration::rows);
  scatter(file.read<std::uint64_t>("tokens"), hooks, &HookCalibration::tokens);
  scatter(file.read<double>("median_norm"), hooks, &HookCalibration::median_norm);
  scatter(file.read<double>("sink_threshold"), hooks, &HookCalibration::sink_threshold);
  scatter(file.read<double>("mean_norm"), hooks, &HookCalibration::mean_norm);
  for (HookCalibration& hook : hooks) {
    const std::string folder = "hooks/" + hook.hook + "/";
    hook.mean = file.read<float>(folder + "mean");
    hook.geometric_median = file.read<float>(folder + "geometric_median");
    hook.int8_scales = file.read<float>(folder + "int8_scales");
    hook.covariance = file.read<double>(folder + "covariance");
    if (!file.has(folder + kWhitening)) continue;
    hook.whitening = std::make_shared<const WhiteningMaps>(
        WhiteningMaps{as_matrix(file.read<float>(folder + kWhitening), hook),
                      as_matrix(file.read<float>(folder + kUnwhitening), hook)});
  }
  return calibration;
}

}  // namespace refract
