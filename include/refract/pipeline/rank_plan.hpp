#pragma once
// What one rank of a job needs: memory at most, bytes that it sends for a chunk, files that a chunk
// leaves. From settings, model and the size of the corpus alone; the dry run prints it.
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "refract/lm/language_model.hpp"
#include "refract/pipeline/run_config.hpp"
#include "refract/pipeline/schedule.hpp"

namespace refract {

// As far as it is known, or estimated.
struct CorpusSize {
  std::uint64_t shards = 0, tokens = 0;
  std::uint64_t documents = 0;
};

struct RankPlan {
  // What the rank that holds most holds, by what it is for, in bytes. Not all of it at one time.
  std::vector<std::pair<std::string, std::uint64_t>> memory;
  // What a rank holds when training is over and SAEs are evaluated, program, model and weights
  // included.
  std::uint64_t evaluation_bytes = 0;
  std::uint64_t root_bytes = 0;  // what world rank 0 holds besides
  // A training rank sends this much for one visit to a chunk, all SAEs together: the exchanges of
  // train_step.cpp by rings, (R-1)/R of each buffer.
  std::uint64_t sent_bytes = 0;
  std::uint64_t files = 0;  // that a visit leaves for good, `checkpoint.keep` aside
  [[nodiscard]] std::uint64_t memory_bytes() const;  // the larger of the two
};

// program_bytes: of a process that does nothing yet, as measured.
[[nodiscard]] RankPlan plan_rank(const RunConfig& config, const ModelInfo& model,
                                 const CorpusSize& corpus, const RolePlan& roles,
                                 std::uint64_t program_bytes);

}  // namespace refract
