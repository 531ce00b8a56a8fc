// TopK with AuxK (Gao et al. 2024, Scaling and evaluating sparse autoencoders; SPEC 6).
//
//   f = ReLU(TopK(pre)), pre = (x - b_dec) W_enc^T + b_enc;  loss: sae/reconstructing_variant.hpp
#include "sae/row_selecting_variant.hpp"
#include "sae/variant_table.hpp"

namespace refract {
namespace {

class TopK final : public RowSelectingVariant {
 public:
  TopK(const SaeConfig& config, std::size_t d_in, std::uint64_t dead_after_rows)
      : RowSelectingVariant(config, d_in, dead_after_rows, false) {}
  [[nodiscard]] std::string_view name() const override { return "topk"; }
};

}  // namespace

std::unique_ptr<Variant> make_topk(const SaeConfig& config, std::size_t d_in,
                                   std::uint64_t dead_after_rows) {
  return std::make_unique<TopK>(config, d_in, dead_after_rows);
}

}  // namespace refract
