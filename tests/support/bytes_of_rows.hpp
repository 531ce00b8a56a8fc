#pragma once
// A row's bytes are its own: whatever stands beside it in the call, on any number of threads.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "refract/base/parallel.hpp"
#include "refract/tensor/tensor.hpp"

namespace refract::test {

// A copy of rows [first, first + count) of x.
inline Tensor<float> rows_of(const Tensor<float>& x, std::size_t first, std::size_t count) {
  Tensor<float> rows(Shape{count, x.axis(1)});
  std::copy_n(x.data() + first * x.axis(1), rows.size(), rows.data());
  return rows;
}

// op(first, count) is a Tensor<float> [count, M]: what the op makes of those of n rows.
template <typename Op>
void expect_bytes_of_rows(std::size_t n, Op&& op) {
  const int before = thread_count();
  set_thread_count(1);
  const Tensor<float> whole = op(0, n);
  for (const int threads : {1, 3}) {
    set_thread_count(threads);
    for (std::size_t first = 0, count = 1; first < n; first += count, count = 3 * count + 1) {
      const std::size_t rows = std::min(count, n - first);
      const Tensor<float> part = op(first, rows);
      EXPECT_EQ(0, std::memcmp(part.data(), whole.row(first).data(), part.size() * sizeof(float)))
          << rows << " rows from " << first << " on, " << threads << " threads";
    }
    const Tensor<float> again = op(0, n);
    EXPECT_EQ(0, std::memcmp(again.data(), whole.data(), whole.size() * sizeof(float)));
  }
  set_thread_count(before);
}

}  // namespace refract::test
