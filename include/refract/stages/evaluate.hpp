#pragma once
// How good an SAE is on held-out rows: reconstruction and sparsity, baselines at the same k, and
// what splicing it into the model costs. Every number has rows, documents and a 95 % interval by
// document bootstrap; all are functions of the inputs, without times.
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "refract/comm/communicator.hpp"
#include "refract/lm/language_model.hpp"
#include "refract/metrics/reconstruction.hpp"
#include "refract/sae/config.hpp"
#include "refract/sae/variant.hpp"
#include "refract/stages/reconstructor.hpp"
#include "refract/stages/spliced_loss.hpp"
#include "refract/stages/token_corpus.hpp"
#include "refract/store/calibration.hpp"
#include "refract/store/chunk.hpp"

namespace refract {

struct EvaluateConfig {
  std::vector<std::string> baselines = {"pca", "random"};  // pca | random
  bool ce = true;                    // cross-entropy with the SAE spliced into the model
  std::uint64_t ce_tokens = 16384;   // held-out tokens run through the model for it, at most
  std::uint64_t curve_rows = 32768;  // held-out rows behind each line of metrics.jsonl, at most:
                                     // whole documents, the same for every line; 0 = all
  std::uint64_t seed = 1;            // of the bootstrap
};
void check(const EvaluateConfig& config);  // ConfigError names the unknown baseline

// What is evaluated; borrowed.
struct EvaluatedSae {
  const SaeConfig* config = nullptr;
  const Variant* variant = nullptr;
  const SaeParameters* parameters = nullptr;
  double input_scale = 1;
};

// Every report below throws NumericalError, naming the metric and the SAE, when a number comes out
// not finite or no held-out row takes part.

// Reconstruction metrics with the exported inference function, in units of the raw activations. At
// most max_rows rows (whole documents, the first ones; 0 = all): the same rows for every call with
// the same number. Each rank measures some whole documents of them, so that the report, on rank 0
// (empty elsewhere), has the same bytes for any number of ranks.
[[nodiscard]] MetricReport collective_evaluate_rows(const EvaluatedSae& sae,
                                                    const ChunkReader& heldout, std::uint64_t seed,
                                                    std::uint64_t max_rows, Communicator& ranks);
// The frozen-random control: as many features, initialisation rule and b_dec (the geometric median)
// of the SAE, with directions of their own stream (Purpose::random_control), never trained. It
// selects the k strongest of a row, k being the SAE's own or, where its variant has none, its
// measured L0.
struct RandomControl {
  SaeConfig config;
  std::unique_ptr<Variant> variant;
  SaeParameters parameters;
};
[[nodiscard]] RandomControl random_control(const EvaluatedSae& sae,
                                           const HookCalibration& calibration, double l0);
[[nodiscard]] std::size_t active_features(const SaeConfig& config, double l0);  // that k

struct SaeEvaluation {
  std::string name, hook;
  MetricReport inference;
  std::optional<MetricReport> training_mode;
  std::map<std::string, MetricReport> baselines;  // "pca", "random"
  std::optional<MetricReport> cross_entropy;
};

// Evaluates SAE after SAE, everything the configuration asks for; what they share is made once.
// Everything is borrowed. Stop points throughout (base/stop.hpp).
class Evaluator {
 public:
  Evaluator(const EvaluateConfig& config, const ChunkReader& heldout,
            const CalibrationData& calibration, const LanguageModel& model, TokenCorpus& corpus);
  [[nodiscard]] SaeEvaluation evaluate(const EvaluatedSae& sae);

 private:
  const EvaluateConfig& config_;
  const ChunkReader& heldout_;
  const CalibrationData& calibration_;
  const LanguageModel& model_;
  TokenCorpus& corpus_;
  std::map<std::string, SplicedLoss> cross_entropy_;  // by hook
};

// One JSON object; keys in a fixed order. A MetricReport is {"rows", "documents", "<metric>",
// "<metric>_lo", "<metric>_hi", ...}, all of them numbers: what is none ended in a NumericalError.
[[nodiscard]] std::string to_json(const MetricReport& report);
// evaluation.json (docs/formats/evaluation.md): schema, version and parents first.
[[nodiscard]] std::string to_json(const SaeEvaluation& evaluation, const Parents& parents);

}  // namespace refract
