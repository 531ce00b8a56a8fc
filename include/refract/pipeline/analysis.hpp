#pragma once
// The end of a run: metrics on the held-out rows, evaluation, probing, the report. Each finished
// part is named in the ledger with the digest of what it was made from, and made again only when
// that changes.
#include <string>
#include <vector>

#include "refract/pipeline/ledger.hpp"
#include "refract/pipeline/session.hpp"
#include "refract/stages/train.hpp"

namespace refract {

// One line of metrics.jsonl: training means of the chunk and metrics on the held-out rows.
[[nodiscard]] std::string metrics_line(Session& session, const TrainedSae& sae,
                                       std::uint64_t visit);

// Writes saes/<name>/evaluation.json, features/<name>.h5, report.html; skips what the ledger says
// is up to date.
void evaluate_run(Session& session, Ledger& ledger, const std::vector<TrainedSae>& saes);
void probe_run(Session& session, Ledger& ledger, const std::vector<TrainedSae>& saes);
void report_run(Session& session, Ledger& ledger, const std::vector<TrainedSae>& saes);

}  // namespace refract
