#pragma once
// How long ago a feature fired, and which are dead.
#include "refract/ops/encode_select.hpp"

namespace refract {

// age[f] += rows (0 in a later pass over them), then 0 where counts[f] != 0. counts [F + 1]:
// firings, then included rows (count_entries); age [F].
void update_ages(TensorView<const std::uint64_t> counts, bool first_pass,
                 TensorView<std::uint64_t> age, Stream& stream);
// The features with age >= dead_after.
void list_dead(TensorView<const std::uint64_t> age, std::uint64_t dead_after,
               const DeadFeatures& dead, Stream& stream);
// scalars[kDead] = count[0] (ops/step_sums.hpp)
void note_dead(TensorView<const std::uint64_t> count, TensorView<double> scalars, Stream& stream);

}  // namespace refract
