#pragma once
#include <algorithm>
#include <cstddef>

namespace refract {

// MPI counts are ints: larger transfers go in pieces of this many bytes. A body takes the size as
// an argument, so that a test can cut small transfers.
inline constexpr std::size_t kMpiPiece_bytes = std::size_t{1} << 30;

// use(at, count) for `size` elements from `start` on, in pieces of at most `piece` elements.
template <typename Use>
void for_each_piece(std::size_t start, std::size_t size, std::size_t piece, Use&& use) {
  for (std::size_t done = 0; done < size; done += piece)
    use(start + done, static_cast<int>(std::min(piece, size - done)));
}

}  // namespace refract
