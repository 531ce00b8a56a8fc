#pragma once
#include <cstddef>
#include <memory>

#include "comm/communicator_body.hpp"
#include "comm/mpi_piece.hpp"

namespace refract {

// Transfers, and those of communicators split from it, go in pieces of at most `piece_bytes`.
[[nodiscard]] std::unique_ptr<CommunicatorBody> duplicate_world(
    std::size_t piece_bytes = kMpiPiece_bytes);

}  // namespace refract
