#pragma once
// A variant that selects over the whole batch: f = the k N largest positive pre-activations of the
// N included rows of the global batch (Bussmann et al. 2024). The threshold is the exponential mean
// of the smallest activation selected, which is what inference goes by: f = pre where
// pre > threshold. It begins as the first batch's, so it is never biased towards 0.
//
// The selection is exact and does not depend on the ranks (ops/batch_top.hpp).
//
//   round 0  keep candidates above a floor, a share of the threshold; count their high halves
//   round 1  only when too few were kept: again without the floor
//   round 2  count the low 16 bits of candidates in the bucket that holds the k N-th
//   round 3  count its equals in each slice
//   then     keep the largest; the reconstruction begins
#include "sae/reconstructing_variant.hpp"

namespace refract {

class BatchSelectingVariant : public ReconstructingVariant {
 public:
  [[nodiscard]] bool has_threshold() const override { return true; }
  [[nodiscard]] bool has_training_mode() const override { return true; }
  void finish(const Step& step) const override;
  void encode(const SaeParameters& p, TensorView<const float> x, std::size_t first_row,
              SparseActs& acts) const override;
  // The selection within these rows.
  void encode_training(const SaeParameters& p, TensorView<const float> x,
                       std::span<const std::uint8_t> included, std::size_t first_row,
                       SparseActs& acts) const override;
  // As SAELens folds its own BatchTopK: a JumpReLU with one threshold for all features.
  [[nodiscard]] SaeExport export_for_saelens(const SaeParameters& p) const override;

 protected:
  BatchSelectingVariant(const SaeConfig& config, std::size_t d_in, std::uint64_t dead_after_rows,
                        std::vector<std::size_t> prefixes = {});

 private:
  [[nodiscard]] StepShape selection() const override;
  void select(std::size_t round, const Step& step) const override;
  void keep(const Step& step) const override;
  void look(const Step& step, const Choice& choice, TensorView<const std::uint64_t> unless) const;

  std::size_t k_;
  double threshold_rate_;
};

}  // namespace refract
