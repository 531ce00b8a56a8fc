#pragma once
// The table of the research log: of each evaluated SAE what was asked and what came of it, under
// the log's headings and in its units (docs/formats/evaluation.md).
#include "refract/pipeline/run_config.hpp"
#include "refract/pipeline/run_evaluation.hpp"
#include "refract/stages/text_table.hpp"

namespace refract {

enum class Digits { few, all };

// A row for each SAE of the configuration that was evaluated; an empty cell where a number has no
// meaning.
[[nodiscard]] TextTable run_table(const RunConfig& config, const RunEvaluation& found,
                                  Digits digits);

// The strength of an L1 penalty in the log's units, whose loss is a mean over dimensions and over
// features: coefficient d_sae / d_in; 0 where there is none. NaN where the SAE's input is scaled:
// that the coefficient holds for other units.
[[nodiscard]] double l1_strength(const SaeConfig& sae, double d_in);

}  // namespace refract
