#pragma once
// A variant whose rows each keep their own k largest pre-activations, with AuxK; by value, which is
// then positive, or by magnitude, with their sign.
#include "sae/reconstructing_variant.hpp"

namespace refract {

class RowSelectingVariant : public ReconstructingVariant {
 public:
  void encode(const SaeParameters& p, TensorView<const float> x, std::size_t first_row,
              SparseActs& acts) const override;
  // SAELens calls its architectures as we do.
  [[nodiscard]] SaeExport export_for_saelens(const SaeParameters& p) const override;

 protected:
  RowSelectingVariant(const SaeConfig& config, std::size_t d_in, std::uint64_t dead_after_rows,
                      bool by_magnitude);

 private:
  [[nodiscard]] StepShape selection() const override;
  void select(std::size_t round, const Step& step) const override;
  [[nodiscard]] Choice choice(std::size_t k) const;

  std::size_t k_, most_;
  bool by_magnitude_;
};

}  // namespace refract
