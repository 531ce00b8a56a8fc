#pragma once
// Accesses of two threads to the same bytes that nothing orders. The compiler is asked for the
// calls of the thread sanitizer (-fsanitize=thread, for *.cu only) and this answers them in place
// of its library, with the rules of a grid: __syncthreads orders the threads of a block, __syncwarp
// the lanes of its mask, nothing the blocks. Two atomics never conflict. So a missing barrier is
// reported whether or not the schedule made it matter. Not in a build with the address sanitizer,
// which does not go with the other.
#include <cstddef>
#include <cstdint>

namespace refract::emulated {

enum class Access : std::uint8_t { read, write, atomic };

// By the running thread; nothing outside a kernel, and on memory that is neither a device's nor
// shared.
void note_access(const void* address, std::size_t bytes, Access access);

void forget_accesses(const void* first, std::size_t bytes);  // memory that is freed

}  // namespace refract::emulated
