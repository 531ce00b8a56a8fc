#pragma once
// Measures what reconstructs rows: every metric of the table in one pass over the held-out rows,
// which the ranks share by whole documents. Then every rank has the sums of all documents, and
// makes a share of the bootstrap samples: so each number is computed by one rank in a fixed order,
// and the bytes are the same for any number of ranks.
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "refract/comm/communicator.hpp"
#include "refract/comm/shared_stop.hpp"
#include "refract/metrics/reconstruction.hpp"
#include "refract/stages/heldout_rows.hpp"
#include "refract/stages/reconstructor.hpp"

namespace refract {

struct Measured {
  std::string of;  // for messages: "SAE 'small'"
  Reconstructor* reconstructor = nullptr;
};

struct MeasureRule {
  std::span<const float> reference;  // [D] the mean that r2_per_token compares with
  std::uint64_t seed = 1;            // of the bootstrap
  std::size_t replicates = 1000;
  std::string doing;  // what the progress line and the watchdog name; empty: neither
};

struct Measurement {
  MetricReport report;
  DensityHistogram densities;
};

// Collective; the same on every rank. stop: null where nothing may stop it. Memory, on each rank:
// the documents' sums (document_sums.hpp), twice while they are gathered.
[[nodiscard]] std::vector<Measurement> collective_measure(const HeldoutRows& rows,
                                                          std::span<const Measured> measured,
                                                          const MeasureRule& rule, SharedStop* stop,
                                                          Communicator& ranks);

}  // namespace refract
