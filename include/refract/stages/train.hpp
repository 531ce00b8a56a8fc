#pragma once
// Data-parallel training of many SAEs on one stream of chunks. Every exchange between ranks is
// here, in sight.
//
// Schedule of one step, for each SAE in turn (the batch is assembled once per hook and shared):
//   measure -> [sum Stats] -> gradients -> [exchange rows or gradients]
//           -> norm, clip -> update -> [gather] -> finish
// Invariant at entry and exit: every rank holds the same parameters, ages and scalars; moments are
// held by the owner of a feature row under `sharded`, by everyone under `all_reduce`.
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "refract/comm/exchange.hpp"
#include "refract/order/sample_order.hpp"
#include "refract/sae/config.hpp"
#include "refract/sae/variant.hpp"
#include "refract/sae/weight_gradients.hpp"
#include "refract/store/calibration.hpp"
#include "refract/store/chunk.hpp"

namespace refract {

struct TrainConfig {
  std::string tokens = "all";  // distinct stored rows to train on: all, or a number
  std::uint64_t passes_per_chunk = 1;
  std::uint64_t corpus_passes = 1;     // more than one needs store.mode keep
  std::uint64_t batch_rows = 4096;     // of the global batch
  std::uint64_t data_seed = 1;         // order of slices, for all SAEs
  std::string dtype = "fp32";          // of the products
  std::string reduction = "fast";      // fast | ordered (same bytes for any rank and thread count)
  std::string exchange = "auto";       // auto | all_reduce | sharded
  double clip = 1.0;                   // of the global gradient norm; 0 switches it off
  std::string input_scale = "sqrt_d";  // none | sqrt_d
  std::uint64_t cache_bytes = std::uint64_t{8} << 30;  // rows of a chunk kept in memory, per rank
  OptimizerConfig optimizer;
};

// Sums of a visit's step values, carried through a checkpoint within it; means go to metrics.jsonl.
struct VisitLog {
  std::uint64_t steps = 0;
  double loss = 0, squared_error = 0, aux_loss = 0, l0 = 0, grad_norm = 0;
  double lr = 0;           // of the last step
  std::uint64_t dead = 0;  // after the last step
  void add(const StepLog& step);
};

// One SAE being trained.
struct TrainedSae {
  SaeConfig config;
  std::unique_ptr<Variant> variant;
  std::unique_ptr<StepScratch> scratch;
  SaeState state;
  double input_scale = 1;
  VisitLog log;
  std::string weights_digest;  // as saved or restored; empty since a step has changed the weights
};
// Of the weights as they are: the one that is kept, or computed.
[[nodiscard]] std::string weights_digest(const TrainedSae& sae);

[[nodiscard]] std::vector<TrainedSae> make_trained_saes(const std::vector<SaeConfig>& saes,
                                                        const CalibrationData& calibration,
                                                        std::uint64_t dead_after_rows);

// SPEC 2: max(2 chunk_rows, min(10 M, rows / 10)).
[[nodiscard]] std::uint64_t dead_threshold(std::uint64_t chunk_rows, std::uint64_t train_rows);

class StepRunner {
 public:
  StepRunner(const TrainConfig& config, std::uint64_t total_steps, Communicator& ranks);
  // Collective. NumericalError when the gradient overflows, naming the input or, where weights have
  // grown beyond it, the learning rate.
  StepLog collective_step(TrainedSae& sae, const Batch& batch);
  // Collective, before a checkpoint: moments of foreign rows are gathered (nothing to do under
  // all_reduce).
  void collective_gather_moments(TrainedSae& sae);

 private:
  void collective_ordered_gradients(TrainedSae& sae, const Batch& batch, RowGradients& rows,
                                    FeatureGradients& own, PanelSums& sums);
  void collective_fast_gradients(TrainedSae& sae, const Batch& batch, RowGradients& rows,
                                 FeatureGradients& own, PanelSums& sums);
  void collective_gather_rows(const FeatureGradients& own, FeatureGradients& all);
  [[nodiscard]] std::vector<std::size_t> features_of_ranks(std::size_t d_sae) const;
  void collective_gather_features(TensorView<float> whole, std::size_t d_sae);

  const TrainConfig& config_;
  std::uint64_t total_steps_;
  Communicator& ranks_;
  std::unique_ptr<Exchange> exchange_;
  Stream stream_;
  bool sharded_;
};

// What one visit to a chunk is: with corpus_passes > 1 a chunk is visited more than once.
struct ChunkVisit {
  ChunkShape shape;
  std::uint64_t corpus_pass = 0;
  std::uint64_t steps_done = 0;  // before a checkpoint within the visit; the next is this one
  [[nodiscard]] std::uint64_t steps(const TrainConfig& config) const {
    return shape.batches * config.passes_per_chunk;
  }
};

// Collective. Trains all SAEs on the chunk from step visit.steps_done on.
// after_step(done) is called after each step with the number of steps done in this visit; false
// ends the visit early. Returns the steps done in this visit.
std::uint64_t collective_train_chunk(std::vector<TrainedSae>& saes, const ChunkReader& chunk,
                                     const ChunkVisit& visit, const SampleOrder& order,
                                     const TrainConfig& config, StepRunner& runner,
                                     Communicator& ranks,
                                     const std::function<bool(std::uint64_t)>& after_step);

}  // namespace refract
