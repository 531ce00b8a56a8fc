#pragma once
// What the rules of advice say of one SAE's numbers.
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "refract/metrics/advice.hpp"

namespace refract {

using MetricValues = std::map<std::string, double, std::less<>>;  // by metric

// What was measured of one SAE. A rule whose metric has no value gives no verdict.
struct MeasuredSae {
  std::string variant;
  std::size_t d_in = 0, d_sae = 0;
  std::uint64_t rows = 0;  // behind `values`
  MetricValues values;     // also "<baseline>.<metric>"
  MetricValues control;    // of the frozen-random control
  MetricValues chance;     // of a random dictionary of the same shape
};

enum class VerdictState { good, watch, too_high, too_low, not_applicable };
enum class VerdictSide { inside, above, below };  // of what is good
[[nodiscard]] std::string_view to_string(VerdictState state);
[[nodiscard]] std::string_view to_string(VerdictSide side);

// Texts are empty where there is nothing to say.
struct Verdict {
  std::string rule, metric, title;
  double value = 0;
  VerdictState state = VerdictState::good;
  VerdictSide side = VerdictSide::inside;
  std::string good;      // "0.02 to 0.1", "at most 0.2, above chance"
  std::string sentence;  // the metric's meaning
  std::string fix;       // for the SAE's variant; only of watch, too_high and too_low
  std::string field;     // "0 to 0.43 (Gemma-2B ...)"
  std::optional<double> control, chance;
  std::vector<std::string> notes;  // why there is none, or why red became watch; what explains it
};

// A verdict is red (too_high, too_low) beyond a red bound or by a comparison that says so. Red
// becomes watch, with a note, where published SAEs show the same value or the frozen-random control
// is beyond the same bound. In the order of the rules; pure.
[[nodiscard]] std::vector<Verdict> verdicts(const Advice& advice, const MeasuredSae& sae);

}  // namespace refract
