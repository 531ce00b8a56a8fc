#pragma once
// What an Exchange does, by bodies: loopback_exchange.cpp, mpi_exchange.cpp, nccl_exchange.cpp. The
// front (exchange.cpp) has checked devices and counts.
#include <cstddef>
#include <memory>
#include <span>

#include "refract/base/dtype.hpp"
#include "refract/comm/exchange.hpp"

namespace refract {

class ExchangeBody {
 public:
  virtual ~ExchangeBody() = default;
  [[nodiscard]] virtual int rank() const = 0;
  [[nodiscard]] virtual int size() const = 0;
  [[nodiscard]] virtual Device device() const = 0;
  // f32, f64, u64
  virtual void all_reduce_sum(std::byte* values, DType type, std::size_t size, Stream& stream) = 0;
  virtual void reduce_scatter_sum(const float* values, std::span<const std::size_t> counts,
                                  float* mine, Stream& stream) = 0;
  // What is not added up needs no type. counts in elements.
  virtual void all_gather(std::byte* all, std::size_t element_bytes,
                          std::span<const std::size_t> counts, Stream& stream) = 0;
  virtual void synchronize(Stream& stream) { stream.synchronize(); }
};

[[nodiscard]] std::unique_ptr<ExchangeBody> make_loopback_exchange(Device device);

}  // namespace refract
