#pragma once
// Does training learn, on this machine, with this build? SAEs of every variant are trained, by the
// step that trains all SAEs (stages/train.hpp), on rows of a planted truth (analysis/planted.hpp),
// and what they learned is held against it (analysis/truth_scores.hpp), beside two that show the
// ends of the scale: a dictionary that was never trained, and the truth itself. Nothing is read or
// written.
#include <cstdint>
#include <string>
#include <vector>

#include "refract/analysis/planted.hpp"
#include "refract/analysis/truth_scores.hpp"
#include "refract/comm/communicator.hpp"
#include "refract/sae/config.hpp"

namespace refract {

struct TruthTestConfig {
  PlantedConfig planted;
  std::size_t d_sae = 256;  // features of each SAE
  std::uint64_t steps = 3000;
  std::uint64_t batch_rows = 1024;
  std::uint64_t heldout_rows = 16384;  // measured; never trained on
  double lr = 2e-3;
  double l1_coefficient = 1.3;  // of relu and gated
  double l0_coefficient = 5;    // of jumprelu, towards the planted number
  std::uint64_t seed = 1;
};

// A dictionary on the held-out rows.
struct TruthRow {
  std::string name;  // random, a variant, oracle
  double l0 = 0;     // mean active features of a row
  double r2 = 0;     // 1 - squared error / squared distance to the mean row
  TruthScores scores;
};

struct TruthReport {
  TruthTestConfig config;
  std::vector<TruthRow> rows;         // random, each variant, oracle
  std::vector<std::string> failures;  // variants that do not clearly beat the random dictionary
  [[nodiscard]] const TruthRow& of(const std::string& name) const;  // asserts that it is there
};

// A trained SAE beats the random dictionary clearly when its F1 is at least this many times the
// random one's, and its MCC is at least this share of the way from the random one's to 1.
constexpr double kClearF1 = 2, kClearMcc = 0.4;

// Collective; the report, on every rank, has the same bytes for any number of ranks and threads.
// ConfigError when there are more ranks than slices of a batch; NumericalError when training
// diverges; StopRequested, on every rank, within some steps after a stop was asked of any. Memory:
// some batches of rows.
[[nodiscard]] TruthReport collective_truth_test(const TruthTestConfig& config, Communicator& ranks);

[[nodiscard]] std::string describe(const TruthReport& report);  // a table, and how to read it
// One JSON object: what was trained, {"name", "l0", "r2", "precision", "recall", "f1",
// "uniqueness", "mcc"} of each dictionary, the rule, "passed".
[[nodiscard]] std::string to_json(const TruthReport& report);

}  // namespace refract
