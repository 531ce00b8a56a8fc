#include "emulated/block.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdio>
#include <memory>
#include <numeric>
#include <string_view>
#include <utility>
#include <vector>

#include "cuda_runtime.h"
#include "emulated/fiber.hpp"

// The linker's names for the two ends of all __shared__ variables; null where there are none.
extern "C" {
extern std::byte __start_refract_shared[] __attribute__((weak));
extern std::byte __stop_refract_shared[] __attribute__((weak));
}

// What kernels read; see shim/device_code.hpp.
refract::emulated::Index threadIdx, blockIdx, blockDim, gridDim;

namespace refract::emulated {
namespace {

constexpr unsigned kWarp = 32;
// NaN in every float format, and no index.
constexpr std::byte kGarbage{0xFF};

enum class State : std::uint8_t { runnable, at_barrier, at_warp_operation, returned };

struct Thread {
  Fiber fiber;
  State state = State::runnable;
  std::source_location where;
  WarpOp kind{};
  unsigned mask = 0, source = 0, warp_syncs = 0;
  std::uint64_t value = 0, result = 0;
};

// SplitMix64 (Steele, Lea, Flood 2014).
class Draw {
 public:
  explicit Draw(std::uint64_t seed) : state_(seed) {}
  std::size_t below(std::size_t bound) {
    state_ += 0x9E3779B97F4A7C15U;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    return static_cast<std::size_t>(((z ^ (z >> 31)) >> 32) * bound >> 32);
  }

 private:
  std::uint64_t state_;
};

struct Grid {
  std::vector<std::unique_ptr<Thread>> threads;  // as many as the largest block had; reused
  std::vector<unsigned> runnable;
  std::array<unsigned, 32> waiting{};  // of each warp: lanes at a warp operation
  unsigned size = 0, returned = 0, at_barrier = 0, current = 0;
  bool running = false;
  unsigned barriers = 0;  // of the block
  std::string wrong;
  Runner runner{};
  const std::function<void()>* body = nullptr;
};

std::uint64_t the_seed = 1;

// Fibers of a thread stay on it.
Grid& grid() {
  thread_local Grid grid;
  return grid;
}
thread_local std::array<char, 64> running_text{};
thread_local bool in_kernel = false;

Thread& self() { return *grid().threads[grid().current]; }

void make_runnable(unsigned id) {
  grid().threads[id]->state = State::runnable;
  grid().runnable.push_back(id);
}

void thread_main(void*) {
  (*grid().body)();
  self().state = State::returned;
  ++grid().returned;
}

std::string_view file_name(const std::source_location& where) {
  const std::string_view path = where.file_name();
  return path.substr(path.rfind('/') + 1);
}

std::string doing(const Thread& thread) {
  constexpr std::array<std::string_view, 3> kNames{"__syncwarp", "a shuffle", "a vote"};
  switch (thread.state) {
    case State::returned: return "has returned";
    case State::runnable: return "runs";
    case State::at_barrier:
      return fmt::format("waits at __syncthreads, {}:{}", file_name(thread.where),
                         thread.where.line());
    case State::at_warp_operation:
      return fmt::format("waits at {} of mask {:#010x}, {}:{}",
                         kNames[static_cast<std::size_t>(thread.kind)], thread.mask,
                         file_name(thread.where), thread.where.line());
  }
  return {};
}

bool meets(const Thread& a, const Thread& b) {
  return b.state == State::at_warp_operation && b.kind == a.kind && b.mask == a.mask;
}

// No thread can run and some have not returned: the first that waits, and for whom.
std::string describe_deadlock() {
  const Grid& g = grid();
  for (unsigned id = 0; id < g.size; ++id) {
    const Thread& waiting = *g.threads[id];
    if (waiting.state == State::at_barrier) {
      for (unsigned other = 0; other < g.size; ++other)
        if (g.threads[other]->state != State::at_barrier)
          return fmt::format(
              "thread {} of block {} {}; thread {} never comes: it {}. Every thread of a block "
              "must "
              "reach the same barriers",
              id, blockIdx.x, doing(waiting), other, doing(*g.threads[other]));
    } else if (waiting.state == State::at_warp_operation) {
      const unsigned first = id / kWarp * kWarp;
      for (unsigned lane = 0; lane < kWarp; ++lane) {
        if (!(waiting.mask >> lane & 1U)) continue;
        const unsigned other = first + lane;
        if (other >= g.size)
          return fmt::format("thread {} of block {} {}; the block has no thread {}", id, blockIdx.x,
                             doing(waiting), other);
        if (!meets(waiting, *g.threads[other]))
          return fmt::format("thread {} of block {} {}; thread {} never comes: it {}", id,
                             blockIdx.x, doing(waiting), other, doing(*g.threads[other]));
      }
    }
  }
  return "the block stands still";
}

void expect_one_barrier() {
  const Grid& g = grid();
  const std::source_location first = g.threads[0]->where;
  for (unsigned id = 1; id < g.size; ++id) {
    const std::source_location where = g.threads[id]->where;
    if (where.line() != first.line() || where.column() != first.column() ||
        (where.file_name() != first.file_name() && file_name(where) != file_name(first)))
      return report(fmt::format(
          "thread 0 of block {} {}, thread {} {}: every thread of a block must reach the same "
          "barriers",
          blockIdx.x, doing(*g.threads[0]), id, doing(*g.threads[id])));
  }
}

// By hand: redzones of the sanitizer lie between the variables.
__attribute__((no_sanitize("address"))) void fill_shared_with_garbage() {
  for (volatile std::byte* at = __start_refract_shared; at != __stop_refract_shared; ++at)
    *at = kGarbage;
}

void run_block(unsigned threads, Draw& draw) {
  Grid& g = grid();
  fill_shared_with_garbage();
  while (g.threads.size() < threads) g.threads.push_back(std::make_unique<Thread>());
  g.size = threads;
  g.returned = g.at_barrier = g.barriers = 0;
  g.runner.block = blockIdx.x;
  ++g.runner.block_serial;
  g.runner.fenced = false;
  g.runner.after.clear();
  g.runnable.clear();
  g.waiting.fill(0);
  for (unsigned id = 0; id < threads; ++id) {
    g.threads[id]->fiber.start(&thread_main, nullptr);
    g.threads[id]->warp_syncs = 0;
    make_runnable(id);
  }
  while (!g.runnable.empty() && g.wrong.empty()) {
    unsigned& drawn = g.runnable[draw.below(g.runnable.size())];
    g.current = drawn;
    drawn = g.runnable.back();
    g.runnable.pop_back();
    threadIdx.x = g.runner.thread = g.current;
    g.runner.epoch = g.barriers << 16 | g.threads[g.current]->warp_syncs;
    g.threads[g.current]->fiber.resume();
  }
  if (g.wrong.empty() && g.returned < threads) report(describe_deadlock());
}

}  // namespace

void set_seed(std::uint64_t seed) { the_seed = seed; }
std::uint64_t seed() { return the_seed; }

void report(std::string wrong) {
  if (grid().wrong.empty()) grid().wrong = std::move(wrong);
}

const Runner* runner() {
  if (!in_kernel) return nullptr;
  return &grid().runner;
}

const char* running_thread() {
  if (!in_kernel) return "";
  std::snprintf(running_text.data(), running_text.size(), "thread %u of block %u", threadIdx.x,
                blockIdx.x);
  return running_text.data();
}

std::string run_grid(std::size_t blocks, unsigned threads, const std::function<void()>& thread) {
  Grid& g = grid();
  g.wrong.clear();
  g.body = &thread;
  blockDim = {threads, 1, 1};
  gridDim = {static_cast<unsigned>(blocks), 1, 1};
  thread_local std::uint64_t launches = 0;
  g.runner.grid = ++launches;
  Draw draw(the_seed);
  std::vector<unsigned> order(blocks);
  std::iota(order.begin(), order.end(), 0U);
  for (std::size_t left = blocks; left > 1; --left)
    std::swap(order[left - 1], order[draw.below(left)]);
  in_kernel = true;
  for (std::size_t i = 0; i < blocks && g.wrong.empty(); ++i) {
    blockIdx = {order[i], 0, 0};
    run_block(threads, draw);
  }
  in_kernel = false;
  if (g.wrong.empty()) return {};
  return fmt::format("{} (REFRACT_TEST_SEED={})", g.wrong, the_seed);
}

void fence() {
  grid().runner.fenced = true;
  give_way();
}

void give_way() {
  make_runnable(grid().current);
  Fiber::stop();
}

void barrier(std::source_location where) {
  Grid& g = grid();
  self().where = where;
  self().state = State::at_barrier;
  if (++g.at_barrier == g.size) {
    expect_one_barrier();
    g.at_barrier = 0;
    ++g.barriers;
    g.runner.after = fmt::format("__syncthreads, {}:{}", file_name(where), where.line());
    for (unsigned id = 0; id < g.size; ++id) make_runnable(id);
  }
  Fiber::stop();
}

std::uint64_t warp_operation(WarpOp kind, unsigned mask, std::uint64_t value, unsigned source,
                             std::source_location where) {
  Grid& g = grid();
  Thread& me = self();
  const unsigned lane = g.current % kWarp, first = g.current - lane;
  me.state = State::at_warp_operation;
  me.where = where;
  me.kind = kind;
  me.mask = mask;
  me.value = value;
  me.source = source;
  if (!(mask >> lane & 1U)) {
    report(fmt::format("thread {} of block {} {}; the mask lacks its own lane {}", g.current,
                       blockIdx.x, doing(me), lane));
    Fiber::stop();
  }
  bool complete = ++g.waiting[first / kWarp] >= static_cast<unsigned>(std::popcount(mask));
  std::uint64_t votes = 0;
  for (unsigned rest = mask; rest != 0 && complete; rest &= rest - 1) {
    const auto other = static_cast<unsigned>(std::countr_zero(rest));
    complete = first + other < g.size && meets(me, *g.threads[first + other]);
    if (complete && g.threads[first + other]->value != 0) votes |= std::uint64_t{1} << other;
  }
  if (complete) {
    for (unsigned rest = mask; rest != 0; rest &= rest - 1) {
      Thread& other = *g.threads[first + static_cast<unsigned>(std::countr_zero(rest))];
      if (kind == WarpOp::sync) other.warp_syncs = (other.warp_syncs + 1) & 0xFFFFU;
      // What a lane outside the mask holds is not defined.
      other.result = kind == WarpOp::vote        ? votes
                     : mask >> other.source & 1U ? g.threads[first + other.source]->value
                                                 : ~std::uint64_t{0};
    }
    g.waiting[first / kWarp] -= static_cast<unsigned>(std::popcount(mask));
    for (unsigned rest = mask; rest != 0; rest &= rest - 1)
      make_runnable(first + static_cast<unsigned>(std::countr_zero(rest)));
  }
  Fiber::stop();
  return me.result;
}

}  // namespace refract::emulated
