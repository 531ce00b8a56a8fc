#pragma once
// How the ranks that train divide the work: groups of ranks that train some of the SAEs each, in a
// group a mesh of rows by features (stages/mesh.hpp), along its columns an exchange of gradients.
// What `auto` stands for is chosen here by bytes, which are printed with it.
#include <cstdint>
#include <string>
#include <vector>

#include "refract/lm/language_model.hpp"
#include "refract/pipeline/run_config.hpp"
#include "refract/stages/mesh.hpp"

namespace refract {

struct TrainingLayout {
  std::uint64_t groups = 1;
  MeshShape mesh;        // of one group
  std::string exchange;  // all_reduce | sharded
};

// What one rank of a group sends in a step, and holds for as long as it trains, of all the group's
// SAEs together (reference: docs/performance.md, "What a mesh costs"). With R rows, C columns, s
// bytes of a gradient on the wire, B rows of the batch, per SAE of F features:
//   gradients and weights  (R-1)/R * F/C * (2 s G)            all_reduce
//                          (R-1)/R * F/C * (s G + 4 weights)  sharded
//   rows, sums, candidates (C-1)/C * B/R * 4 (D_in + 2 D_out terms) + (C-1) * B/R * 8 (k + k_aux)
//   memory                 F/C * 4 (2 weights + 2 moments / R if sharded + G / R if sharded)
struct LayoutCost {
  TrainingLayout layout;
  std::uint64_t sent_bytes = 0, weight_bytes = 0;
};
[[nodiscard]] LayoutCost layout_cost(const RunConfig& config, const ModelInfo& model,
                                     const TrainingLayout& layout);

// ConfigError where ranks, groups, mesh and dictionaries do not fit.
[[nodiscard]] TrainingLayout training_layout(const RunConfig& config, const ModelInfo& model,
                                             int ranks);
// The choices that there were, the one made first; empty with one rank to a group.
[[nodiscard]] std::vector<LayoutCost> layouts_weighed(const RunConfig& config,
                                                      const ModelInfo& model, int ranks);
// "2 groups of 4 x 1 ranks, all_reduce"
[[nodiscard]] std::string describe(const TrainingLayout& layout);

// The SAEs of one group, by their place in saes: dealt so that the largest sum of features is
// small, the same on every rank.
[[nodiscard]] std::vector<std::vector<std::size_t>> saes_of_groups(const RunConfig& config,
                                                                   std::uint64_t groups);

// "auto", or "rows: 4, features: 2"; ConfigError for anything else.
[[nodiscard]] MeshShape parse_mesh(const std::string& text);  // {0, 0} for auto

}  // namespace refract
