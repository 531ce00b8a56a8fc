// AbsTopK with AuxK (Zhu et al. 2025, AbsTopK: Rethinking Sparse Autoencoders For Bidirectional
// Features): the k pre-activations of largest magnitude keep their sign, so that one feature may
// stand for a contrast.
//
//   f = TopK by |pre|, pre = (x - b_dec) W_enc^T + b_enc;  loss: sae/reconstructing_variant.hpp
#include "sae/row_selecting_variant.hpp"
#include "sae/variant_table.hpp"

namespace refract {
namespace {

class AbsTopK final : public RowSelectingVariant {
 public:
  AbsTopK(const SaeConfig& config, std::size_t d_in, std::uint64_t dead_after_rows)
      : RowSelectingVariant(config, d_in, dead_after_rows, true) {}
  [[nodiscard]] std::string_view name() const override { return "abstopk"; }
};

}  // namespace

std::unique_ptr<Variant> make_abstopk(const SaeConfig& config, std::size_t d_in,
                                      std::uint64_t dead_after_rows) {
  return std::make_unique<AbsTopK>(config, d_in, dead_after_rows);
}

}  // namespace refract
