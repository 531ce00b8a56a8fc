#pragma once
// What joins the stages in one MPI job: the scheduler's loop, the ledger, resume, the analysis at
// the end.
#include <cstdint>
#include <string>

#include "refract/base/error.hpp"
#include "refract/comm/communicator.hpp"
#include "refract/pipeline/deadline.hpp"
#include "refract/pipeline/run_config.hpp"

namespace refract {

// How far a command goes. Each does what is missing before its own part.
enum class Until { tokenize, extract, train, evaluate, probe, report };

struct RunOptions {
  Until until = Until::report;
  std::string command = "run";  // as it stands in `status` when it is done
  int hosts = 1;                // that the ranks run on; for progress.json alone
  bool allow_numerics_change =
      false;     // go on although library, instruction set or rank count changed
  JobTime time;  // world rank 0
};

// Collective. Returns ok, or resume (85) when a signal asked for a stop and what was done is
// durable. Everything else is thrown. A finished run is left untouched; what a finished run lacks
// is made again. A start that is refused changes nothing.
//
// Order of a start (rank 0): claim, ledger, what the settings must agree with, what can be known
// without computing, inputs by content; only then `status` says running and the ledger has the
// attempt.
[[nodiscard]] ExitCode collective_run(const RunConfig& config, Communicator& world,
                                      const RunOptions& options);

// `report`: writes the report from what the run has; trains, evaluates and probes nothing and
// leaves the status alone. DataError when there is no run.
void collective_report(const RunConfig& config, Communicator& world);

// `probe --verify` (SPEC 7), the blocks divided over the ranks: prints what agreed; DataError when
// anything does not.
void collective_verify(const RunConfig& config, Communicator& world);

// The plan of a run for any number of ranks: roles, order, steps, when a feature counts as dead,
// how long checkpoints take, disk per class, memory per rank. Throws what check_before_start throws
// (preflight.hpp); writes nothing. Asks::corpus: what concerns the corpus alone.
[[nodiscard]] std::string dry_run(const RunConfig& config, int ranks, Asks asks = Asks::everything);

}  // namespace refract
