#pragma once
// Training of many SAEs on one stream of chunks, shared by the ranks of a mesh: the batch of a step
// is assembled once for each input and serves every SAE that reads it.
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "refract/order/sample_order.hpp"
#include "refract/sae/config.hpp"
#include "refract/sae/variant.hpp"
#include "refract/stages/train_step.hpp"
#include "refract/store/calibration.hpp"
#include "refract/store/chunk.hpp"

namespace refract {

struct TrainConfig {
  std::string recipe = "none";  // whose settings stood where none were given; by itself, nothing
  std::string tokens = "all";   // distinct stored rows to train on: all, or a number
  std::uint64_t passes_per_chunk = 1;
  std::uint64_t corpus_passes = 1;     // more than one needs store.mode keep
  std::uint64_t batch_rows = 4096;     // of the global batch
  std::uint64_t data_seed = 1;         // order of slices, for all SAEs
  std::string dtype = "fp32";          // of the products
  std::string reduction = "fast";      // fast | ordered (same bytes for any rank and thread count)
  std::string exchange = "auto";       // auto | all_reduce | sharded
  std::string wire = "fp32";           // of gradients: fp32 | bf16
  std::string mesh = "auto";           // auto | "rows: 4, features: 2"
  std::uint64_t groups = 1;            // of ranks, to which the SAEs are dealt
  double clip = 1.0;                   // of the global gradient norm; 0 switches it off
  std::string input_scale = "sqrt_d";  // none | sqrt_d; an SAE's own normalize has more
  std::uint64_t cache_bytes = std::uint64_t{8} << 30;  // rows of a chunk kept in memory, per rank
  OptimizerConfig optimizer;
};

// Of the weights as they are, all of which this rank holds: the one that is kept, or computed.
[[nodiscard]] std::string weights_digest(const TrainedSae& sae);

// Whole, on the host; with a runner of the tiles of its mesh, on its device, moments of a rank's
// own features alone under `sharded`.
[[nodiscard]] std::vector<TrainedSae> make_trained_saes(const std::vector<SaeConfig>& saes,
                                                        const CalibrationData& calibration,
                                                        std::uint64_t dead_after_rows,
                                                        StepRunner* runner = nullptr);

// SPEC 2: max(2 chunk_rows, min(10 M, rows / 10)).
[[nodiscard]] std::uint64_t dead_threshold(std::uint64_t chunk_rows, std::uint64_t train_rows);

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
// ends the visit early. Returns the steps done in this visit. The logs of the last steps are in.
std::uint64_t collective_train_chunk(std::vector<TrainedSae>& saes, const ChunkReader& chunk,
                                     const ChunkVisit& visit, const SampleOrder& order,
                                     const TrainConfig& config, StepRunner& runner,
                                     const std::function<bool(std::uint64_t)>& after_step);

}  // namespace refract
