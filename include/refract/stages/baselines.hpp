#pragma once
// What an SAE is compared with: classic methods, neurons and an SAE that was never trained, at
// equal L0. k is the SAE's measured L0, rounded, at least 1. They read what they reconstruct, so
// a transcoder has none.
//
// All but the frozen-random SAE work on x - mean, the calibration's mean standing where an SAE has
// its b_dec. Where not all components are used, a row keeps the k that contribute most to it,
// |code| x |direction|; where directions are not orthogonal, the codes kept are then made the best
// for those k (least squares, in the sign that the method allows). Without that, the baselines
// would be worse than their components are. Sources: reference of each in
// analysis/{pca,ica,nmf}.hpp.
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "refract/comm/communicator.hpp"
#include "refract/comm/shared_stop.hpp"
#include "refract/stages/evaluated_sae.hpp"
#include "refract/stages/reconstructor.hpp"
#include "refract/store/calibration.hpp"
#include "refract/store/chunk.hpp"

namespace refract {

struct BaselineFacts {
  std::uint64_t components = 0;    // to choose from
  std::uint64_t kept = 0;          // of them in a row, at most
  std::uint64_t fitting_rows = 0;  // 0: not fitted on rows
  std::uint64_t iterations = 0;    // of the fit
  bool converged = true;           // false: it ended after its last iteration, which is no error
};

struct BaselineDictionary;  // src/stages/baseline_dictionary.hpp
class BaselineFitting;      // src/stages/baseline_fits.hpp
struct FittedBaseline {
  std::shared_ptr<const BaselineDictionary> dictionary;
  BaselineFacts facts;
};

struct BaselineRow {
  std::string_view name, meaning;  // one sentence
  bool needs_rows;                 // is fitted on training rows, not from the calibration alone
  FittedBaseline (*collective_fit)(BaselineFitting&);  // null: it is made of each SAE by itself
};
// pca, pca_topk, ica, semi_nmf, split_nmf, neurons, random.
[[nodiscard]] std::span<const BaselineRow> baseline_table();
// ConfigError names a baseline of evaluate.baselines that is not in the table.
void check_baselines(std::span<const std::string> names);

// Components (features of an SAE, neurons) that an SAE of this L0 is compared with.
[[nodiscard]] std::size_t active_components(double l0);

// As many features and initialisation rule of the SAE, with directions of their own stream
// (Purpose::random_control), never trained; selects the k strongest of a row.
struct RandomControl {
  SaeConfig config;
  std::unique_ptr<Variant> variant;
  SaeParameters parameters;
};
[[nodiscard]] RandomControl random_control(const SaeConfig& sae, std::size_t k, std::size_t d_in,
                                           std::span<const float> b_dec /* [D_out] */);
// With b_dec of the SAE (the geometric median) and active_components(l0).
[[nodiscard]] RandomControl random_control(const EvaluatedSae& sae,
                                           const HookCalibration& calibration, double l0);

struct Baseline {
  std::unique_ptr<Reconstructor> reconstructor;
  BaselineFacts facts;
};

// Borrowed while fitting; `calibration` as long as the baselines live.
struct BaselineSources {
  // The training rows of a run (evidence.h5), never held-out ones. May be null when no baseline
  // asked for needs rows; else ConfigError.
  const ChunkReader* training = nullptr;
  const HookCalibration* calibration = nullptr;  // of the hook
  std::uint64_t max_rows = 32768;  // included rows used, at most, spread evenly over `training`
  std::uint64_t seed = 1;          // of where ICA starts
};

class Baselines {
 public:
  // Collective. Fits what is asked for, once for all SAEs of a hook; the result has the same bytes
  // for any number of ranks (principal_components: on one processor). ConfigError when there are
  // fewer training rows than dimensions. StopRequested as SharedStop; nothing of a fit is kept
  // then.
  //
  // Cost, n rows, D dimensions, as many components: ICA (4 n D^2 + about 80 D^3) flops and n D of
  // tanh an iteration, at most 200; semi_nmf 10 n D^2 at most, split_nmf 14 n D^2, at most 100
  // iterations. All but the 80 D^3 are divided over ranks. Memory of each rank: 4 n D floats for
  // ICA and semi_nmf, 7 n D for split_nmf.
  [[nodiscard]] static Baselines collective_fit(std::span<const std::string> names,
                                                const BaselineSources& sources, SharedStop& stop,
                                                Communicator& ranks);
  // One that was fitted. Not collective. What is returned borrows neither `sae` nor this.
  [[nodiscard]] Baseline at(std::string_view name, const EvaluatedSae& sae, double l0) const;

 private:
  const HookCalibration* calibration_ = nullptr;
  std::map<std::string, FittedBaseline, std::less<>> fitted_;
};

}  // namespace refract
