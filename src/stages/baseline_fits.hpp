#pragma once
// How each baseline is made, once for all SAEs of a hook. Collective: called on every rank.
#include <optional>

#include "refract/analysis/pca.hpp"
#include "refract/stages/baselines.hpp"
#include "refract/tensor/tensor.hpp"

namespace refract {

// What fits share; made when first asked for.
class BaselineFitting {
 public:
  BaselineFitting(const BaselineSources& sources, SharedStop& stop, Communicator& ranks)
      : sources_(sources), stop_(stop), ranks_(ranks) {}

  [[nodiscard]] const HookCalibration& calibration() const { return *sources_.calibration; }
  [[nodiscard]] std::uint64_t seed() const { return sources_.seed; }
  // All of them, from the calibration.
  [[nodiscard]] const PrincipalComponents& collective_principal();
  // Of any covariance [D, D] that rank 0 has: LAPACK's there.
  [[nodiscard]] PrincipalComponents collective_principal_of(std::span<const double> covariance);
  // The fitting rows less the mean [n, D].
  [[nodiscard]] const Tensor<float>& collective_rows();

  // Runs `piece` for pieces of at most `size` of this rank's share of `items`; every rank hears of
  // a stop within a piece.
  template <typename Piece>
  void collective_share(std::size_t items, std::size_t size, Piece&& piece);
  [[nodiscard]] std::size_t share(std::size_t items) const;  // how many of them are this rank's
  template <typename T>
  [[nodiscard]] std::vector<T> all_gather(std::span<const T> mine) {
    return ranks_.all_gather(mine);
  }
  [[nodiscard]] bool quiet() const { return ranks_.rank() != 0; }

 private:
  const BaselineSources& sources_;
  SharedStop& stop_;
  Communicator& ranks_;
  std::optional<PrincipalComponents> principal_;
  std::optional<Tensor<float>> rows_;
};

FittedBaseline collective_fit_pca(BaselineFitting& fitting);
FittedBaseline collective_fit_pca_topk(BaselineFitting& fitting);
FittedBaseline collective_fit_ica(BaselineFitting& fitting);
FittedBaseline collective_fit_semi_nmf(BaselineFitting& fitting);
FittedBaseline collective_fit_split_nmf(BaselineFitting& fitting);
FittedBaseline collective_fit_neurons(BaselineFitting& fitting);

}  // namespace refract
