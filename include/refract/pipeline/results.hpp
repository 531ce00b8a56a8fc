#pragma once
// The end of a run: metrics on the held-out rows, evaluation, probing, the report. Every evaluated
// SAE, every probed SAE and the report is finished by itself: the ledger names it ("evaluate/big",
// "probe/big", "report") with a digest of what it was made from and one of what was made, and it is
// made again only when either is another (a file that is missing or damaged). What is computed here
// may be dropped: once a stop was asked for, StopRequested leaves within seconds, and at most the
// work on one SAE is lost.
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "refract/pipeline/ledger.hpp"
#include "refract/pipeline/session.hpp"
#include "refract/stages/train.hpp"

namespace refract {

// A line of metrics.jsonl for each SAE, on rank 0 of those that train (empty elsewhere): means of
// the visit's steps, and metrics on held-out rows, which the ranks measure together.
[[nodiscard]] std::vector<std::string> collective_metrics_lines(Session& session,
                                                                std::vector<TrainedSae>& saes,
                                                                std::uint64_t visit,
                                                                StepRunner& runner);

// So many SAEs are finished; called before each that is due, and once at the end.
using PartsDone = std::function<void(std::uint64_t done)>;

// saes/<name>/evaluation.json, from the SAE's weights, the store and the settings of evaluate; and
// statistics/<hook>.json. Collective: rank 0 alone has the ledger (null elsewhere) and `saes`, and
// writes; every rank measures. has_model: this rank runs the model; one at least does. `made`
// becomes true (rank 0) with the first file finished here, also where a stop ends the call, which
// is on every rank.
void collective_evaluate_run(Session& session, Ledger* ledger, const std::vector<TrainedSae>& saes,
                             bool has_model, Communicator& world, bool& made,
                             const PartsDone& parts_done = {});
// features/<name>.h5, from the SAE's weights, the rows read and the settings of probe.
void probe_run(Session& session, Ledger& ledger, const std::vector<TrainedSae>& saes, bool& made,
               const PartsDone& parts_done = {});

// What the report says of the run beside its files; as far as it is known.
struct ReportFacts {
  std::uint64_t shards = 0;                   // of the corpus
  std::uint64_t rows = 0;                     // distinct rows trained on
  std::uint64_t visits_done = 0, visits = 0;  // of chunks; visits 0: not known yet
  std::string store;                          // its digest; empty: there is none yet
};
[[nodiscard]] ReportFacts report_facts(const RunConfig& config, const RunState& state);
// report.html, from whatever files there are: what is not trained, evaluated or probed yet, the
// page says so. Trains, evaluates and probes nothing. Damaged, with what to do, when a file that is
// there cannot be read.
void report_run(const RunConfig& config, const RunFolder& folder, Ledger& ledger,
                const ReportFacts& facts);

// The first file of the analysis that is missing, damaged or changed since the ledger named it, or
// empty. Reads all of them; needs neither corpus nor model.
[[nodiscard]] std::string unfinished_part(const RunConfig& config, const RunFolder& folder,
                                          const RunState& state);

}  // namespace refract
