#pragma once
// One optimisation step over the ranks of a mesh. Every exchange between ranks is here, in sight.
//
// Schedule of one step:
//   measure -> [candidates, partial reconstructions along a row; statistics along a column]
//           -> weigh -> gradients -> [exchange rows or gradients along a column]
//           -> [norm of all], clip -> update -> [gather weights along a column] -> finish -> log
//           -> now and then, when all that has finished: [dead features begin anew]
// Invariant at entry and exit: a rank holds the parameters and ages of its tile's features, the
// same as every rank of its column; moments of its tile under `all_reduce`, of its own part of it
// under `sharded`.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "refract/sae/config.hpp"
#include "refract/sae/trainer_state.hpp"
#include "refract/sae/variant.hpp"
#include "refract/stages/mesh.hpp"
#include "refract/stages/normalised_hooks.hpp"

namespace refract {

struct TrainConfig;

// Sums of a visit's step values, carried through a checkpoint within it; means go to metrics.jsonl.
struct VisitLog {
  std::uint64_t steps = 0;
  double loss = 0, squared_error = 0, aux_loss = 0, l0 = 0, grad_norm = 0;
  double lr = 0;                // of the last step
  std::uint64_t resampled = 0;  // features (stages/resample.hpp)
  std::uint64_t dead = 0;       // after the last step
  void add(const StepLog& step);
};

// One SAE being trained.
struct TrainedSae {
  SaeConfig config;
  std::unique_ptr<Variant> variant;
  SaeState state;  // of the rank's tile, on the mesh's device; else whole, on the host
  NormalisedHooks input, target;
  VisitLog log;
  std::string weights_digest;  // as saved or restored; empty since a step has changed the weights
  std::unique_ptr<StepBuffers> buffers;              // made by the first step
  mutable std::optional<SaeParameters> usable_mean;  // by used(), until a step changes it

  [[nodiscard]] SaeSpaces spaces() const { return spaces_of(input, target); }
  // What everything but training goes by, which exports, evaluation and probe show: the weights, or
  // their mean where there is one; of the features of `state`.
  [[nodiscard]] const SaeParameters& used() const;
};

// All its parameters are here: others need not be asked for them.
[[nodiscard]] bool is_whole_on_host(const TrainedSae& sae);

class StepRunner {
 public:
  StepRunner(const TrainConfig& config, std::uint64_t total_steps, Mesh mesh);
  // Rows by ranks, on the CPU.
  StepRunner(const TrainConfig& config, std::uint64_t total_steps, Communicator& ranks);

  [[nodiscard]] Mesh& mesh() { return mesh_; }
  [[nodiscard]] Stream& stream() { return stream_; }

  // Collective. Enqueues a step; the log of the one before goes to sae.log. NumericalError when the
  // gradient of that one overflowed, naming the input or, where weights have grown beyond it, the
  // learning rate; nothing was updated by then.
  void collective_step(TrainedSae& sae, const Batch& batch);
  // Collective. Returns when the last step has finished, with its log, or throws as above. Before
  // anything of the SAE is read.
  void collective_finish(TrainedSae& sae);
  // What of a whole state this rank trains, on the mesh's device.
  [[nodiscard]] SaeState tile_of(const SaeState& whole);
  void take_tile(TrainedSae& whole);  // keeps that of it, without a copy where it is all
  [[nodiscard]] HeldFeatures held_features(std::size_t d_sae) const;  // the same, as numbers
  // Collective, and twice the memory of it: the SAE as one rank would hold it, on the host.
  [[nodiscard]] SaeState collective_whole(TrainedSae& sae);

 private:
  void collective_prepare(TrainedSae& sae, const Batch& batch);
  void collective_sum(const Round& round, TrainedSae& sae);
  void collective_merge(const RowEntries& entries, std::size_t k, bool by_magnitude,
                        const Step& step);
  void collective_gradients(TrainedSae& sae, const Step& step);
  void collective_gradients_of_all_rows(TrainedSae& sae, const Step& step);
  void collective_gradients_of_own_rows(TrainedSae& sae, const Step& step);
  void collective_gather_weights(TrainedSae& sae);
  void collective_sum_dead(TrainedSae& sae);
  void follow_mean(TrainedSae& sae);
  void collective_resample_dead(TrainedSae& sae, const Batch& batch);
  void read_log(TrainedSae& sae, std::uint64_t step);
  [[nodiscard]] StepPart part_of(const TrainedSae& sae, const Batch& batch) const;

  const TrainConfig& config_;
  std::uint64_t total_steps_;
  bool sharded_, ordered_;
  Mesh mesh_;
  Stream stream_;
  Tensor<float> bucket_;         // gradients on their way to their owner
  Tensor<float> merged_values_;  // of a row's ranks, while candidates are merged
  Tensor<std::uint32_t> merged_counts_;
};

}  // namespace refract
