// BatchTopK with AuxK (Bussmann et al. 2024, BatchTopK Sparse Autoencoders):
// sae/batch_selecting_variant.hpp; loss: sae/reconstructing_variant.hpp. Where SAELens lets its
// threshold begin at 0, ours begins as the first batch's.
#include "sae/batch_selecting_variant.hpp"
#include "sae/variant_table.hpp"

namespace refract {
namespace {

class BatchTopK final : public BatchSelectingVariant {
 public:
  BatchTopK(const SaeConfig& config, std::size_t d_in, std::uint64_t dead_after_rows)
      : BatchSelectingVariant(config, d_in, dead_after_rows) {}
  [[nodiscard]] std::string_view name() const override { return "batchtopk"; }
};

}  // namespace

std::unique_ptr<Variant> make_batchtopk(const SaeConfig& config, std::size_t d_in,
                                        std::uint64_t dead_after_rows) {
  return std::make_unique<BatchTopK>(config, d_in, dead_after_rows);
}

}  // namespace refract
