#pragma once
// Files that the ranks of a mesh write together, each the features that it owns.
//
//   rank 0   creates it, with its header and at full length | writes its own | closes
//   others                                                  | write their own | close
#include <optional>
#include <utility>

#include "refract/sae/trainer_state.hpp"
#include "refract/stages/train.hpp"

namespace refract {

// A partition of the dictionary, whatever the exchange: under all_reduce every rank of a column
// holds the same bytes.
[[nodiscard]] inline OwnedFeatures owned_features(const TrainedSae& sae, StepRunner& runner) {
  return {runner.mesh().own_of(sae.config.d_sae, true), runner.mesh().ranks().rank() == 0};
}

// Collective. open(begin) gives a writer of the file.
template <typename Open>
[[nodiscard]] auto collective_open(Communicator& ranks, Open&& open) {
  const bool root = ranks.rank() == 0;
  std::optional<decltype(open(FileWriter::Begin::create))> file;
  if (root) file.emplace(open(FileWriter::Begin::create));
  ranks.barrier();
  if (!root) file.emplace(open(FileWriter::Begin::join));
  return std::move(*file);
}

}  // namespace refract
