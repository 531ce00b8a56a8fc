#include "refract/ops/row_map.hpp"

#include <algorithm>

#include "ops/row_map_body.hpp"
#include "refract/base/build_info.hpp"
#include "refract/base/error.hpp"
#include "refract/ops/gather_rows.hpp"
#include "refract/ops/gemm.hpp"
#include "refract/ops/gemm_cuda.hpp"

namespace refract {
namespace {

class CpuRowMap final : public RowMapBody {
 public:
  CpuRowMap(TensorView<const float> W, TensorView<const float> before,
            TensorView<const float> after)
      : before_(before.shape()), centred_(Shape{before.size() != 0 ? kRowMapPanel : 0, W.axis(1)}) {
    Stream host;
    W_.pack(W, after, host);
    if (before.size() != 0) copy_tensor(before, before_.view(), host);
  }

  void run(TensorView<const float> x, TensorView<float> y, Stream& stream) override {
    for (std::size_t first = 0; first < x.axis(0); first += kRowMapPanel) {
      const std::size_t count = std::min(kRowMapPanel, x.axis(0) - first);
      TensorView<const float> rows = x.rows(first, count);
      if (before_.size() != 0) {
        centre_rows(rows, before_.cview(), centred_.view().rows(0, count), stream);
        rows = centred_.cview().rows(0, count);
      }
      gemm_nt(rows, W_, y.rows(first, count), first, stream);
    }
  }

 private:
  PackedMatrix W_;
  Tensor<float> before_, centred_;
};

std::unique_ptr<RowMapBody> make_body(TensorView<const float> W, TensorView<const float> before,
                                      TensorView<const float> after, Device device) {
  const std::size_t N = W.axis(0), K = W.axis(1);
  if (before.size() != 0) expect_shape(before, "before", {{"K", K}});
  if (after.size() != 0) expect_shape(after, "after", {{"N", N}});
  if (device.kind == DeviceKind::cpu) return std::make_unique<CpuRowMap>(W, before, after);
  if constexpr (has_cuda) return make_cuda_row_map(W, before, after, device);
  throw NotBuilt("row_map has no CUDA body in this build: set device to cpu.");
}

}  // namespace

RowMap::RowMap(TensorView<const float> W, TensorView<const float> before,
               TensorView<const float> after, Device device)
    : body_(make_body(W, before, after, device)) {}
RowMap::~RowMap() = default;
RowMap::RowMap(RowMap&&) noexcept = default;
RowMap& RowMap::operator=(RowMap&&) noexcept = default;

void RowMap::run(TensorView<const float> x, TensorView<float> y, Stream& stream) {
  expect_shape(y, "y", {{"n", x.axis(0)}, {"N", y.axis(1)}});
  body_->run(x, y, stream);
}

std::size_t RowMap::bytes(std::size_t N, std::size_t K, Device device) {
  const std::size_t panels = device.kind == DeviceKind::cuda ? K + N : K;
  return sizeof(float) * (N * K + N + K + kRowMapPanel * panels) +
         (device.kind == DeviceKind::cuda ? cuda::kCublasWorkspaceBytes : 0);
}

}  // namespace refract
