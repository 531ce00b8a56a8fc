#include "emulated/races.hpp"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "emulated/arena.hpp"
#include "emulated/block.hpp"

extern "C" {
extern std::byte __start_refract_shared[] __attribute__((weak));
extern std::byte __stop_refract_shared[] __attribute__((weak));
// The linker's names for the ends of what the program has of variables.
extern std::byte __data_start[] __attribute__((weak));
extern std::byte _end[] __attribute__((weak));
}

namespace refract::emulated {
namespace {

constexpr std::size_t kWord_bytes = 4;

// Of four bytes: the last write, and the reads since, within one span: a launch, or for shared
// memory a block. `bytes` has a bit for each.
struct Cell {
  std::uint64_t span;
  std::uint32_t write_block, write_epoch, read_block, read_epoch;
  std::uint16_t write_thread, read_thread;
  std::uint8_t write_bytes, read_bytes;
  bool atomic, several_read;
};
static_assert(sizeof(Cell) == 32);

// Untouched cells take addresses only, no memory.
Cell* map_cells(std::size_t bytes) {
  void* cells = mmap(nullptr, bytes / kWord_bytes * sizeof(Cell), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (cells == MAP_FAILED) {
    std::perror("emulated CUDA: room to note accesses");
    std::abort();
  }
  return static_cast<Cell*>(cells);
}

Cell* cells_of_device(int device) {
  static const std::array<Cell*, kDevices> cells{map_cells(kArena_bytes), map_cells(kArena_bytes)};
  return cells[static_cast<std::size_t>(device)];
}

bool is_shared(const std::byte* at) {
  return at >= __start_refract_shared && at < __stop_refract_shared;
}

Cell* find(const std::byte* at) {
  if (is_shared(at)) {
    static std::vector<Cell> cells(
        static_cast<std::size_t>(__stop_refract_shared - __start_refract_shared) / kWord_bytes + 2);
    const auto first = reinterpret_cast<std::uintptr_t>(__start_refract_shared) / kWord_bytes;
    return &cells[reinterpret_cast<std::uintptr_t>(at) / kWord_bytes - first];
  }
  const int device = device_of(at);
  if (device < 0) return nullptr;
  return cells_of_device(device) + static_cast<std::size_t>(at - base_of(device)) / kWord_bytes;
}

// Whether an earlier access of this grid happened before the running thread's.
bool ordered(const Runner& now, std::uint32_t block, std::uint32_t epoch, unsigned thread) {
  if (block != now.block) return now.fenced;
  if (thread == now.thread || epoch >> 16 != now.epoch >> 16) return true;
  return thread / 32 == now.thread / 32 && epoch != now.epoch;  // a __syncwarp lies between
}

void report_race(const Runner& now, const std::byte* at, Access access, const char* other,
                 std::uint32_t block, unsigned thread) {
  constexpr std::array<const char*, 3> kDoes{"reads", "writes", "changes atomically"};
  report(fmt::format(
      "thread {} of block {} {} {}, which thread {} of block {} {} with nothing between the two "
      "that "
      "orders them{}",
      now.thread, now.block, kDoes[static_cast<std::size_t>(access)],
      is_shared(at) ? "shared memory" : describe(at), thread, block, other,
      now.after.empty() ? ", before the first barrier" : fmt::format(", after {}", now.after)));
}

void note_word(const Runner& now, const std::byte* at, std::uint8_t bytes, Access access) {
  Cell* const cell = find(at);
  if (!cell) {
    if (access != Access::read && at >= __data_start && at < _end)
      report(fmt::format(
          "thread {} of block {} writes a variable that is neither on a device nor __shared__; or "
          "is "
          "it __shared__ in a template, where gcc puts it among the others? Declare it in a kernel "
          "that is none and hand a reference to the template",
          now.thread, now.block));
    return;
  }
  // What another block left in shared memory is no one's.
  if (const std::uint64_t span = is_shared(at) ? now.block_serial : now.grid; cell->span != span) {
    *cell = Cell{};
    cell->span = span;
  }
  if ((cell->write_bytes & bytes) != 0 && !(access == Access::atomic && cell->atomic) &&
      !ordered(now, cell->write_block, cell->write_epoch, cell->write_thread))
    report_race(now, at, access, cell->atomic ? "has changed atomically" : "has written",
                cell->write_block, cell->write_thread);
  if (access == Access::read) {
    const bool joins = (cell->read_bytes & bytes) != 0 &&
                       !ordered(now, cell->read_block, cell->read_epoch, cell->read_thread);
    cell->several_read = joins || (cell->several_read && cell->read_block == now.block &&
                                   cell->read_epoch == now.epoch);
    cell->read_bytes = bytes;
    cell->read_block = now.block;
    cell->read_epoch = now.epoch;
    cell->read_thread = static_cast<std::uint16_t>(now.thread);
    return;
  }
  if ((cell->read_bytes & bytes) != 0) {
    // Of several readers only the last is known; the others are no earlier than its barrier.
    const bool own = cell->read_block == now.block && cell->read_thread == now.thread &&
                     cell->several_read && cell->read_epoch >> 16 == now.epoch >> 16;
    if (own || !ordered(now, cell->read_block, cell->read_epoch, cell->read_thread))
      report_race(now, at, access, own ? "and another have read" : "has read", cell->read_block,
                  cell->read_thread);
  }
  cell->write_bytes = bytes;
  cell->write_block = now.block;
  cell->write_epoch = now.epoch;
  cell->write_thread = static_cast<std::uint16_t>(now.thread);
  cell->atomic = access == Access::atomic;
  cell->read_bytes = 0;
  cell->several_read = false;
}

}  // namespace

void note_access(const void* address, std::size_t bytes, Access access) {
  const Runner* const now = runner();
  if (!now) return;
  const auto* at = static_cast<const std::byte*>(address);
  while (bytes > 0) {
    const std::size_t within = reinterpret_cast<std::uintptr_t>(at) % kWord_bytes,
                      here = std::min(bytes, kWord_bytes - within);
    note_word(*now, at, static_cast<std::uint8_t>(((1U << here) - 1) << within), access);
    at += here;
    bytes -= here;
  }
}

void forget_accesses(const void* first, std::size_t bytes) {
  Cell* const cell = find(static_cast<const std::byte*>(first));
  if (cell) madvise(cell, bytes / kWord_bytes * sizeof(Cell), MADV_DONTNEED);
}

}  // namespace refract::emulated

// What the compiler calls, by the names of the sanitizer's library.
namespace {

using refract::emulated::Access;
using refract::emulated::note_access;

}  // namespace

extern "C" {
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
void __tsan_read1(void* at) { note_access(at, 1, Access::read); }
void __tsan_read2(void* at) { note_access(at, 2, Access::read); }
void __tsan_read4(void* at) { note_access(at, 4, Access::read); }
void __tsan_read8(void* at) { note_access(at, 8, Access::read); }
void __tsan_read16(void* at) { note_access(at, 16, Access::read); }
void __tsan_write1(void* at) { note_access(at, 1, Access::write); }
void __tsan_write2(void* at) { note_access(at, 2, Access::write); }
void __tsan_write4(void* at) { note_access(at, 4, Access::write); }
void __tsan_write8(void* at) { note_access(at, 8, Access::write); }
void __tsan_write16(void* at) { note_access(at, 16, Access::write); }
void __tsan_unaligned_read2(void* at) { note_access(at, 2, Access::read); }
void __tsan_unaligned_read4(void* at) { note_access(at, 4, Access::read); }
void __tsan_unaligned_read8(void* at) { note_access(at, 8, Access::read); }
void __tsan_unaligned_read16(void* at) { note_access(at, 16, Access::read); }
void __tsan_unaligned_write2(void* at) { note_access(at, 2, Access::write); }
void __tsan_unaligned_write4(void* at) { note_access(at, 4, Access::write); }
void __tsan_unaligned_write8(void* at) { note_access(at, 8, Access::write); }
void __tsan_unaligned_write16(void* at) { note_access(at, 16, Access::write); }
void __tsan_read_range(void* at, std::size_t bytes) { note_access(at, bytes, Access::read); }
void __tsan_write_range(void* at, std::size_t bytes) { note_access(at, bytes, Access::write); }
// Host code beside the kernels: a static's guard, a shared_ptr's count.
unsigned char __tsan_atomic8_load(const volatile unsigned char* at, int) {
  return __atomic_load_n(at, __ATOMIC_SEQ_CST);
}
int __tsan_atomic32_load(const volatile int* at, int) {
  return __atomic_load_n(at, __ATOMIC_SEQ_CST);
}
int __tsan_atomic32_fetch_add(volatile int* at, int value, int) {
  return __atomic_fetch_add(at, value, __ATOMIC_SEQ_CST);
}
int __tsan_atomic32_fetch_sub(volatile int* at, int value, int) {
  return __atomic_fetch_sub(at, value, __ATOMIC_SEQ_CST);
}
}
