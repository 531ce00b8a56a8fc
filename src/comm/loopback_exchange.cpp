// One rank: a sum of one addend is that addend, on any device.
#include "comm/exchange_body.hpp"

namespace refract {
namespace {

class LoopbackExchange final : public ExchangeBody {
 public:
  explicit LoopbackExchange(Device device) : device_(device) {}
  [[nodiscard]] int rank() const override { return 0; }
  [[nodiscard]] int size() const override { return 1; }
  [[nodiscard]] Device device() const override { return device_; }
  void all_reduce_sum(std::byte*, DType, std::size_t, Stream&) override {}
  void reduce_scatter_sum(const float* values, std::span<const std::size_t> counts, float* mine,
                          Stream& stream) override {
    copy_bytes(reinterpret_cast<std::byte*>(mine), device_,
               reinterpret_cast<const std::byte*>(values), device_, counts[0] * sizeof(float),
               stream);
  }
  void all_gather(std::byte*, std::size_t, std::span<const std::size_t>, Stream&) override {}

 private:
  Device device_;
};

}  // namespace

std::unique_ptr<ExchangeBody> make_loopback_exchange(Device device) {
  return std::make_unique<LoopbackExchange>(device);
}

}  // namespace refract
