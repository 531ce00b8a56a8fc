#pragma once
// Which SAEs a stage of the analysis has still to be made for, and what of.
#include <string>
#include <vector>

#include "pipeline/finished_parts.hpp"
#include "refract/pipeline/session.hpp"
#include "refract/stages/train.hpp"

namespace refract {

struct DuePart {
  const TrainedSae* sae = nullptr;
  std::string inputs;
};

// Those whose part is not finished with `shared` (settings and rows, a fact a line) and what the
// SAE is.
[[nodiscard]] std::vector<DuePart> due_parts(const Session& session, const Ledger& ledger,
                                             const std::vector<TrainedSae>& saes,
                                             Part (*part_of)(const RunFolder&, const std::string&),
                                             const std::string& shared);
[[nodiscard]] Parents analysis_parents(const Session& session, const TrainedSae& sae);
[[nodiscard]] EvaluatedSae evaluated(const TrainedSae& sae);
// Content of the training rows that are kept, as a line of `shared`.
[[nodiscard]] std::string rows_kept(const Session& session);

}  // namespace refract
