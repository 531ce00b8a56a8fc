#pragma once
// How good an SAE is on held-out rows: reconstruction and sparsity by every convention, baselines
// at the same L0, the geometry of its decoder, what splicing it into the model costs, and what the
// rules of advice say of all that. Every number of rows has rows, documents and a 95 % interval by
// document bootstrap; all are functions of the inputs, without times, and the same for any number
// of ranks.
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "refract/comm/communicator.hpp"
#include "refract/comm/shared_stop.hpp"
#include "refract/lm/language_model.hpp"
#include "refract/metrics/advice.hpp"
#include "refract/metrics/decoder_geometry.hpp"
#include "refract/metrics/reconstruction.hpp"
#include "refract/metrics/verdict.hpp"
#include "refract/stages/baselines.hpp"
#include "refract/stages/drift.hpp"
#include "refract/stages/sae_reconstructor.hpp"
#include "refract/stages/spliced_loss.hpp"
#include "refract/stages/token_corpus.hpp"
#include "refract/store/calibration.hpp"
#include "refract/store/chunk.hpp"

namespace refract {

struct EvaluateConfig {
  std::vector<std::string> baselines = {"pca", "pca_topk", "neurons", "random"};
  std::uint64_t baseline_rows = 32768;    // training rows that ICA and NMF are fitted to, at most
  bool ce = true;                         // the model's loss with the SAE spliced in
  std::uint64_t ce_tokens = 16384;        // held-out tokens run through the model for it, at most
  bool statistics = true;                 // of the activations themselves
  std::uint64_t statistics_rows = 65536;  // held-out rows behind the data statistics; 0 = all
  std::uint64_t curve_rows = 32768;  // held-out rows behind each line of metrics.jsonl, at most:
                                     // whole documents, the same for every line; 0 = all
  std::string advice;                // file of rules; empty: the program's own
  std::uint64_t seed = 1;            // of the bootstrap
};
void check(const EvaluateConfig& config);  // ConfigError names the unknown baseline

// Collective. Reconstruction metrics with the exported inference function, in units of the raw
// activations, of at most max_rows rows (whole documents, the first ones; 0 = all): the same rows
// for every call with the same number. calibration: of what it reconstructs. Nothing stops it. The
// intervals are of 200 bootstrap samples. NumericalError, naming the metric and the SAE, when a
// number comes out not finite or no held-out row takes part.
[[nodiscard]] MetricReport collective_evaluate_rows(const EvaluatedSae& sae,
                                                    const ChunkReader& heldout,
                                                    const HookCalibration& calibration,
                                                    std::uint64_t seed, std::uint64_t max_rows,
                                                    Communicator& ranks);

// What training itself counted.
struct TrainingCounts {
  std::uint64_t dead = 0;             // features that fired in none of the last
  std::uint64_t dead_after_rows = 0;  // so many trained rows
};

// Since an earlier checkpoint of the same SAE.
struct DriftSince {
  std::string checkpoint;  // "chunk-000003"
  CheckpointDrift drift;
};

struct BaselineEvaluation {
  std::string name;
  BaselineFacts facts;
  MetricReport report;
};

struct SaeEvaluation {
  std::string name, hook, variant;
  std::uint64_t d_in = 0, d_sae = 0;
  std::string target_hook;  // of a transcoder; else empty
  std::uint64_t d_out = 0;
  MetricReport inference;
  DensityHistogram densities;
  std::optional<MetricReport> training_mode;
  std::optional<TrainingCounts> training;
  DecoderGeometry decoder, chance;  // its own; of a random dictionary of the same shape
  std::vector<DriftSince> drift;
  // In the order that they were asked for; of a transcoder none, for they read what they
  // reconstruct.
  std::vector<BaselineEvaluation> baselines;
  std::optional<MetricReport> spliced_loss;
  std::optional<MetricReport> random_spliced_loss;  // of the frozen-random SAE, where it was asked
  std::vector<Verdict> verdicts;
};

// What evaluation reads, on every rank but where it says otherwise; borrowed.
struct EvaluationSources {
  const ChunkReader& heldout;
  const ChunkReader* evidence;  // training rows; null where no baseline needs them
  const CalibrationData& calibration;
  const LanguageModel* model;  // null on ranks that have none; on one at least it is
  TokenCorpus& corpus;         // with the held-out documents' contexts on rank 0
};

// Evaluates SAE after SAE, everything the configuration asks for; what they share is made once.
class Evaluator {
 public:
  Evaluator(const EvaluateConfig& config, const EvaluationSources& sources, SharedStop& stop,
            Communicator& ranks);
  ~Evaluator();
  // Collective, with the same SAE on every rank. The result is whole on rank 0, but for what the
  // caller adds (training, drift, verdicts). StopRequested on every rank or on none.
  [[nodiscard]] SaeEvaluation collective_evaluate(const EvaluatedSae& sae);

 private:
  struct Body;
  std::unique_ptr<Body> body_;
};

// By the rules, from what is in `evaluation`.
[[nodiscard]] std::vector<Verdict> verdicts_of(const SaeEvaluation& evaluation,
                                               const Advice& advice);

}  // namespace refract
