#pragma once
#include <cstddef>

namespace refract {

// MPI counts are ints: larger transfers go in pieces of this many bytes. A body takes the size as
// an argument, so that a test can cut small transfers.
inline constexpr std::size_t kMpiPiece_bytes = std::size_t{1} << 30;

}  // namespace refract
