#pragma once
// Bulk tensors between the training ranks; a call takes a Stream and enqueues. Bodies: MPI on host
// memory, NCCL on a device, Loopback for one rank on either.
//
//   all_reduce_sum, 2 ranks          reduce_scatter_sum               all_gather
//   r0 [a0 a1] -> [a0+b0 a1+b1]      r0 [a0 a1] -> [a0+b0]            r0 [a0] -> [a0 b0]
//   r1 [b0 b1] -> [a0+b0 a1+b1]      r1 [b0 b1] -> [a1+b1]            r1 [b0] -> [a0 b0]
//
// All ranks make the same calls in the same order, with the same counts; any number of elements,
// none too. Views of any shape, taken as the elements they hold. Every view with an element and the
// stream are of device(), else SystemError. Tensors stay untouched until synchronize() has
// returned, and so do those of a call before one on another stream: an exchange works in one stream
// at a time. Where a transfer shall go on beside other work, give the exchange a stream of its own.
//
// On host memory a call is finished on return. MPI and Loopback add in the order of the ranks:
// element i of a sum is ((v0[i] + v1[i]) + v2[i]) + ..., the same bytes for any message size and
// library. NCCL's order is its own. Every rank gets the same bytes of an all_reduce.
//
// Wire::bf16: sums of f32 travel as bf16, half the bytes. Every addend is rounded to bf16 (nearest,
// ties to even), this rank's own as well, so that no sum depends on who owns it; additions are in
// fp32 (NCCL: partial sums are rounded where it passes them on); what an all_reduce brings is
// rounded once more. On one rank nothing travels and nothing is rounded.
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "refract/comm/communicator.hpp"
#include "refract/device/device.hpp"
#include "refract/tensor/tensor.hpp"

namespace refract {

class ExchangeBody;  // src/comm

enum class Wire { fp32, bf16 };

template <typename T>
concept Summable =
    std::same_as<T, float> || std::same_as<T, double> || std::same_as<T, std::uint64_t>;
template <typename T>
concept Gatherable = Summable<T> || std::same_as<T, std::uint32_t> || std::same_as<T, std::uint8_t>;

class Exchange {
 public:
  explicit Exchange(std::unique_ptr<ExchangeBody> body);
  ~Exchange();
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;
  [[nodiscard]] int rank() const;
  [[nodiscard]] int size() const;
  [[nodiscard]] Device device() const;

  // In place.
  template <Summable T>
  void all_reduce_sum(TensorView<T> values, Stream& stream);
  // counts[r] elements belong to rank r; `values` holds all of them behind each other, and stays as
  // it is; `mine` receives this rank's sums, and is no part of it.
  void reduce_scatter_sum(TensorView<const float> values, std::span<const std::size_t> counts,
                          TensorView<float> mine, Stream& stream);
  // `all` holds every rank's part in rank order; this rank's part is already in place.
  template <Gatherable T>
  void all_gather(TensorView<T> all, std::span<const std::size_t> counts, Stream& stream);

  // Returns when the stream's work has finished. Unlike Stream::synchronize it notices, and throws
  // as SystemError, what went wrong between the ranks after a call was enqueued.
  void synchronize(Stream& stream);

 private:
  std::unique_ptr<ExchangeBody> body_;
};

// For tensors on `device`; the communicator outlives it. Loopback where the communicator has one
// rank; else MPI for the CPU, and for CUDA NCCL: this is collective over the communicator, throws
// SystemError on every rank where two of them share a GPU or one has no such device, and NotBuilt
// without NCCL.
[[nodiscard]] std::unique_ptr<Exchange> make_exchange(Communicator& communicator,
                                                      Device device = {}, Wire wire = Wire::fp32);

}  // namespace refract
