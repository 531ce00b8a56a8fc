#pragma once
// evaluation.json (docs/formats/evaluation.md) and the numbers in it by name.
#include <string>

#include "refract/metrics/reconstruction.hpp"
#include "refract/metrics/verdict.hpp"
#include "refract/stages/evaluate.hpp"
#include "refract/store/artifact.hpp"

namespace refract {

// One JSON object; keys in a fixed order. A MetricReport is {"rows", "documents", "<metric>",
// "<metric>_lo", "<metric>_hi", ...}, all of them numbers: what is none ended in a NumericalError.
[[nodiscard]] std::string to_json(const MetricReport& report);
// Schema, version and parents first.
[[nodiscard]] std::string to_json(const SaeEvaluation& evaluation, const Parents& parents);

// What the rules look at: every number of an evaluation by the name of its metric, those of
// baselines as "<baseline>.<metric>".
[[nodiscard]] MeasuredSae measured(const SaeEvaluation& evaluation);

}  // namespace refract
