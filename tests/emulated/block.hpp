#pragma once
// A grid on fibers: the blocks one after another, of each block every thread a fiber. Which block
// and which thread goes next is drawn from a seed, again at every barrier, warp operation and
// atomic. So what happens between two threads without a barrier happens in every order, given
// seeds enough.
#include <cstddef>
#include <cstdint>
#include <functional>
#include <source_location>
#include <string>

namespace refract::emulated {

void set_seed(std::uint64_t seed);  // of the grids from here on
[[nodiscard]] std::uint64_t seed();

// Runs thread() once for each thread of each block. Returns what was wrong, with block, thread,
// place and seed; empty when all threads returned. What is still in the middle then is forgotten.
[[nodiscard]] std::string run_grid(std::size_t blocks, unsigned threads,
                                   const std::function<void()>& thread);

// "thread 5 of block 3" while a kernel runs, else empty. Safe in a signal handler.
[[nodiscard]] const char* running_thread();

// The running thread, for who watches what it does (races.cpp).
struct Runner {
  std::uint64_t grid;          // counts launches, from 1
  std::uint64_t block_serial;  // counts blocks of all launches, from 1
  std::uint32_t block;         // its index
  std::uint32_t thread;        // of the block
  std::uint32_t epoch;         // barriers of the block << 16 | __syncwarps of the thread
  bool fenced;                 // a thread of the block has called __threadfence
  std::string after;           // the last barrier, in words; empty before the first
};
[[nodiscard]] const Runner* runner();  // null outside a kernel
void report(std::string wrong);        // ends the grid; the first report counts

// What device code (shim/device_code.hpp) calls on its fiber.
enum class WarpOp : std::uint8_t { sync, shuffle, vote };
void barrier(std::source_location where);
// Returns, when every lane of the mask is at an operation of the same kind and mask: for a shuffle
// the value of lane `source`; for a vote the lanes whose value is not 0.
std::uint64_t warp_operation(WarpOp kind, unsigned mask, std::uint64_t value, unsigned source,
                             std::source_location where);
void fence();
void give_way();

}  // namespace refract::emulated
