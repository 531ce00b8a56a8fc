#pragma once
// Loops over rows, and over items by a few workers, each with its own work memory.
#include <algorithm>
#include <atomic>
#include <cstddef>
#include <vector>

#include "refract/base/parallel.hpp"

namespace refract {

// Rows a thread takes at a time in row-wise ops.
inline constexpr std::size_t kRowsPerTask = 32;
// Values a thread takes at a time in ops that see one value.
inline constexpr std::size_t kValuesPerTask = 16384;

// body(item, memory of the worker); `memory` grows to one entry per thread and is kept by the
// caller. Results must not depend on which worker took an item.
template <typename Memory, typename Body>
void for_each_item(std::size_t items, std::vector<Memory>& memory, Body&& body) {
  const std::size_t workers =
      std::min(items, static_cast<std::size_t>(std::max(1, thread_count())));
  if (memory.size() < workers) memory.resize(workers);
  std::atomic<std::size_t> next{0};
  parallel_for(workers, [&](std::size_t worker) {
    for (std::size_t item = next++; item < items; item = next++) body(item, memory[worker]);
  });
}

// body(row) of all rows, some at a time.
template <typename Body>
void for_each_row(std::size_t rows, Body&& body) {
  parallel_for((rows + kRowsPerTask - 1) / kRowsPerTask, [&](std::size_t task) {
    const std::size_t end = std::min(rows, (task + 1) * kRowsPerTask);
    for (std::size_t row = task * kRowsPerTask; row < end; ++row) body(row);
  });
}

// body(first, count) of all values, a stretch at a time.
template <typename Body>
void for_each_stretch(std::size_t values, Body&& body) {
  parallel_for((values + kValuesPerTask - 1) / kValuesPerTask, [&](std::size_t task) {
    const std::size_t first = task * kValuesPerTask;
    body(first, std::min(kValuesPerTask, values - first));
  });
}

}  // namespace refract
