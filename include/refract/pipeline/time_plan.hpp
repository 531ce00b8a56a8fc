#pragma once
// How long a run takes, stage by stage: work from the plan, by rates that were measured on this
// machine or given. For the dry run and for `refract submit`; nothing is computed from it.
#include <string>
#include <vector>

#include "refract/lm/language_model.hpp"
#include "refract/pipeline/rank_plan.hpp"
#include "refract/pipeline/run_config.hpp"
#include "refract/pipeline/schedule.hpp"
#include "refract/pipeline/training_plan.hpp"

namespace refract {

// Of one rank.
struct Rates {
  double flop_per_s = 0;  // of matrix products, fp32
  double write_bytes_per_s = 0;
  double text_bytes_per_s = 0;  // tokenization
  std::string origin;           // in words
};
// submit.gflops and submit.write_bytes_per_s where they are given; else products are timed for a
// fraction of a second with so many threads. The rest is what docs/performance.md states.
[[nodiscard]] Rates rates_of(const RunConfig& config, int threads);

struct StageTime {
  std::string stage, work;
  double seconds = 0;
};

struct TimePlan {
  std::vector<StageTime> stages;
  double chunk_s = 0;  // to extract one and to train on it
  double chunk_train_s = 0;
  double checkpoint_s = 0;  // until it is on the disk
  // fused: all stages one after the other; split: the longest of those that overlap, and the
  // analysis.
  double total_s = 0;
};

struct TimedRun {
  const RunConfig& config;
  const ModelInfo& model;
  const TrainingPlan& plan;
  const CorpusSize& corpus;
  const RolePlan& roles;
  int ranks_per_node = 1;  // rank 0 uses the cores of all of them for the analysis
};
[[nodiscard]] TimePlan plan_time(const TimedRun& run, const Rates& rates);

// A chunk that takes no more than a third of this time: rows for store.chunk_rows and
// store.block_rows, so that a batch keeps its slices. chunk_rows 0: no smaller chunk has whole
// batches.
struct ChunkProposal {
  std::uint64_t chunk_rows = 0, block_rows = 0;
};
[[nodiscard]] ChunkProposal propose_chunk(const RunConfig& config, double chunk_s,
                                          double walltime_s);

}  // namespace refract
