#pragma once
// Bulk buffers between the training ranks; a call takes a Stream and enqueues. Bodies: Loopback and
// MPI on host buffers, NCCL where the buffers are on a device.
//
//   all_reduce_sum, 2 ranks          reduce_scatter_sum               all_gather
//   r0 [a0 a1] -> [a0+b0 a1+b1]      r0 [a0 a1] -> [a0+b0]            r0 [a0] -> [a0 b0]
//   r1 [b0 b1] -> [a0+b0 a1+b1]      r1 [b0 b1] -> [a1+b1]            r1 [b0] -> [a0 b0]
//
// All ranks make the same calls in the same order, with the same counts. Buffers live on the device
// that the exchange was made for, the stream as well, and stay untouched until synchronize() has
// returned. On host buffers a call is finished on return. The order of the additions is the
// library's: results of different bodies or rank counts differ in their last bits.
#include <cstddef>
#include <memory>
#include <span>

#include "refract/comm/communicator.hpp"
#include "refract/device/device.hpp"

namespace refract {

class Exchange {
 public:
  virtual ~Exchange() = default;
  virtual void all_reduce_sum(std::span<float> values, Stream& stream) = 0;
  // counts[r] elements belong to rank r; `values` holds all of them, `mine` receives this rank's
  // sums.
  virtual void reduce_scatter_sum(std::span<const float> values,
                                  std::span<const std::size_t> counts, std::span<float> mine,
                                  Stream& stream) = 0;
  // `all` holds every rank's part in rank order; this rank's part is already in place.
  virtual void all_gather(std::span<float> all, std::span<const std::size_t> counts,
                          Stream& stream) = 0;
  // Returns when the stream's work has finished. Unlike Stream::synchronize it notices, and throws
  // as SystemError, what went wrong between the ranks after a call was enqueued.
  virtual void synchronize(Stream& stream) { stream.synchronize(); }
};

// The body for buffers on `device`. CPU: Loopback for one rank without MPI, else MPI. CUDA: NCCL;
// this is collective over the communicator, throws SystemError on every rank where two of them
// share a GPU or one has no such device, and NotBuilt without NCCL.
[[nodiscard]] std::unique_ptr<Exchange> make_exchange(Communicator& communicator,
                                                      Device device = {});

}  // namespace refract
