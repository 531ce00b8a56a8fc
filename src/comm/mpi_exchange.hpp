#pragma once
#include <algorithm>
#include <cstddef>
#include <memory>

#include "comm/exchange_body.hpp"

namespace refract {

// What goes at a time, of all ranks together: small enough that what arrives is still in a cache
// when it is added, and for the watchdog to see a large transfer get on; a message large enough for
// the full rate of a network. The work buffers are as large: one for what arrives, one for what is
// rounded before it goes.
[[nodiscard]] constexpr std::size_t bucket_bytes_for(int ranks) {
  constexpr std::size_t kMessage_bytes = 256 << 10, kLeast_bytes = 2 << 20, kMost_bytes = 32 << 20;
  return std::clamp(static_cast<std::size_t>(ranks) * kMessage_bytes, kLeast_bytes, kMost_bytes);
}

// On host memory, between the ranks of `comm`, a pointer to an MPI_Comm (native_mpi()).
// bucket_bytes: 0 = bucket_bytes_for() them; a bucket holds at least one element for each rank.
[[nodiscard]] std::unique_ptr<ExchangeBody> make_mpi_exchange(const void* comm, Wire wire,
                                                              std::size_t bucket_bytes = 0);

}  // namespace refract
