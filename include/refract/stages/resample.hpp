#pragma once
// Dead features begin anew from rows that are explained badly (Bricken et al. 2023, as
// dictionary_learning does it, trainers/standard.py), between two steps:
//
//   rows of the global batch are drawn without replacement, with probability proportional to |e|:
//   row r has the key -log(u) / |e|, u of (seed, step, r), and the smallest keys win (Efraimidis
//   and Spirakis 2006), ties to the lower row; the first goes to the first dead feature
//
//   W_dec[f] = t / |t|;  W_enc[f] = scale * (mean norm of living encoder rows) * x
//   b_enc, b_mag, r_mag 0; a trained threshold as at first; moments 0; age 0; the mean of the
//   weights (SaeConfig::ema) as the weights
//
// x is the row as the SAE reads it and t as it reconstructs it, b_dec not subtracted and x not
// normalised, as there. e is that of the step, before its update. Features that find no row stay.
//
// Exchange, 2 ranks:
//   r0 keys of rows a, r1 of rows b   --all-gather-->  both know which rows were drawn
//   r0 those of a, r1 those of b      --all-gather-->  both write the same features
#include <cstdint>

#include "refract/stages/train_step.hpp"

namespace refract {

// After so many updates of `steps`.
[[nodiscard]] bool resamples_after(const SaeConfig& config, std::uint64_t updates,
                                   std::uint64_t steps);

// Collective, behind a step that has finished, on a mesh of one column. The host reads what it
// needs. Returns how many features began anew; what the buffers have of dead ones is then to be
// made anew.
[[nodiscard]] std::uint64_t collective_resample(TrainedSae& sae, const Batch& batch, Mesh& mesh,
                                                Stream& stream);

}  // namespace refract
