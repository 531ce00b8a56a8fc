#pragma once
#include <cstddef>
#include <memory>

#include "comm/exchange_body.hpp"

namespace refract {

// What goes at a time: large enough for the full rate, small enough for MPI's counts, for the work
// buffers (this much again for what arrives, half of it for what is rounded), and for the watchdog
// to see a large transfer get on.
inline constexpr std::size_t kBucket_bytes = std::size_t{32} << 20;

// On host memory, between the ranks of `comm`, a pointer to an MPI_Comm (native_mpi()). A bucket
// holds at least one element for each rank.
[[nodiscard]] std::unique_ptr<ExchangeBody> make_mpi_exchange(
    const void* comm, Wire wire, std::size_t bucket_bytes = kBucket_bytes);

}  // namespace refract
