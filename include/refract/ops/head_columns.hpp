#pragma once
#include <cstddef>

namespace refract {

// Heads that stand side by side in wider rows: columns [first, first + heads width) of [N, C].
struct HeadColumns {
  std::size_t first = 0, heads = 0, width = 0;  // width is Dh
};

}  // namespace refract
