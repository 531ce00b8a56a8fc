#pragma once
#include <memory>

#include "comm/mpi_piece.hpp"
#include "refract/comm/exchange.hpp"

namespace refract {

// On host buffers, between the ranks of `comm`, a pointer to an MPI_Comm (native_mpi()). Transfers
// go in pieces of at most `piece_bytes`, at least one float each; where a call needs more than one
// piece, the parts of the ranks follow each other.
[[nodiscard]] std::unique_ptr<Exchange> make_mpi_exchange(
    const void* comm, std::size_t piece_bytes = kMpiPiece_bytes);

}  // namespace refract
