#include "refract/sae/topk_encoder.hpp"

#include <span>

#include "refract/base/build_info.hpp"
#include "refract/base/error.hpp"
#include "sae/panel_encoder.hpp"
#include "sae/topk_encoder_body.hpp"

namespace refract {
namespace {

class CpuTopkEncoder final : public TopkEncoderBody {
 public:
  void pack(const SaeParameters& parameters, Stream&) override { encoder_.pack(parameters); }
  void encode(const SaeParameters& parameters, TensorView<const float> x, const TopkRows& rows,
              Stream&) override {
    const std::size_t k = rows.features.axis(1);
    encoder_.run(parameters, x, {},
                 [&](std::size_t row, std::span<const float> pre, PanelMemory& memory) {
                   std::uint32_t* features = rows.features.row(row).data();
                   const std::size_t count = select_top(pre, k, 0.0F, memory.select, features);
                   rows.counts.data()[row] = static_cast<std::uint32_t>(count);
                   for (std::size_t j = 0; j < count; ++j)
                     rows.values.row(row)[j] = pre[features[j]];
                 });
  }

 private:
  PanelEncoder encoder_;
};

std::unique_ptr<TopkEncoderBody> make_body(Device device) {
  if (device.kind == DeviceKind::cpu) return std::make_unique<CpuTopkEncoder>();
  if constexpr (has_cuda) return make_cuda_topk_encoder(device);
  throw NotBuilt(
      "TopkEncoder has no CUDA body in this build: configure where nvcc is found, or run on the "
      "CPU");
}

void expect_device(Device found, Device expected, const char* what) {
  if (found != expected) throw SystemError("TopkEncoder: {} is not on the encoder's device", what);
}

}  // namespace

TopkEncoder::TopkEncoder(Device device) : device_(device), body_(make_body(device)) {}
TopkEncoder::~TopkEncoder() = default;
TopkEncoder::TopkEncoder(TopkEncoder&&) noexcept = default;
TopkEncoder& TopkEncoder::operator=(TopkEncoder&&) noexcept = default;

void TopkEncoder::pack(const SaeParameters& parameters, Stream& stream) {
  expect_device(parameters.W_enc.device(), device_, "W_enc");
  expect_device(stream.device(), device_, "the stream");
  body_->pack(parameters, stream);
}

void TopkEncoder::encode(const SaeParameters& parameters, TensorView<const float> x,
                         const TopkRows& rows, Stream& stream) {
  const std::size_t n = x.axis(0), k = rows.features.axis(1);
  expect_shape(x, "x", {{"n", n}, {"D", parameters.d_in()}});
  expect_shape(rows.features, "features", {{"n", n}, {"k", k}});
  expect_shape(rows.values, "values", {{"n", n}, {"k", k}});
  expect_shape(rows.counts, "counts", {{"n", n}});
  expect_device(x.device(), device_, "x");
  expect_device(rows.features.device(), device_, "features");
  expect_device(stream.device(), device_, "the stream");
  if (k == 0) throw SystemError("TopkEncoder: features has room for k = 0; k is at least 1");
  if (n != 0) body_->encode(parameters, x, rows, stream);
}

}  // namespace refract
