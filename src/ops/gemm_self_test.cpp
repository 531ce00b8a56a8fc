#include <algorithm>
#include <array>
#include <cstring>

#include "refract/base/error.hpp"
#include "refract/base/parallel.hpp"
#include "refract/base/random.hpp"
#include "refract/ops/gemm.hpp"

namespace refract {
namespace {

constexpr std::size_t kRows = 160;     // two panels of 64 and a part of a third
constexpr std::size_t kColumns = 325;  // not a multiple of any tile; two column tasks with AVX2

struct Case {
  std::size_t depth;
  std::array<std::size_t, 7> fills;
};
constexpr std::array<Case, 2> kCases{
    {{256, {1, 2, 3, 7, 16, 33, 64}}, {97, {1, 4, 5, 13, 31, 48, 63}}}};

Tensor<float> random_tensor(Shape shape, std::uint64_t seed) {
  Tensor<float> tensor(shape);
  const CounterRng rng(Purpose::test, {seed});
  for (std::size_t i = 0; i < tensor.size(); ++i)
    tensor.data()[i] = static_cast<float>(rng.uniform(i) * 2 - 1);
  return tensor;
}

class ThreadCountScope {
 public:
  ThreadCountScope() : before_(thread_count()) {}
  ~ThreadCountScope() { set_thread_count(before_); }
  ThreadCountScope(const ThreadCountScope&) = delete;
  ThreadCountScope& operator=(const ThreadCountScope&) = delete;

 private:
  int before_;
};

class SelfTest {
 public:
  SelfTest(const RowProduct& product, const Case& shape)
      : product_(product),
        x_(random_tensor({kRows, shape.depth}, 1)),
        w_(random_tensor({kColumns, shape.depth}, 2)),
        expected_({kRows, kColumns}),
        y_({kRows, kColumns}) {
    product_(x_.cview(), w_.cview(), expected_.view(), 0);
  }

  // Rows [first, first + fill) on their own must equal the same rows of the whole product.
  void compare_part(std::size_t first, std::size_t fill, GemmSelfTest& result) {
    const auto y = y_.view().rows(0, fill);
    product_(x_.cview().rows(first, fill), w_.cview(), y, first);
    compare(y, first, fill, fmt::format("multiplied as {} rows from global row {}", fill, first),
            result);
  }

  // Rows keep their bytes when all others change.
  void compare_among_strangers(std::size_t kept, GemmSelfTest& result) {
    auto strangers = random_tensor({kRows, x_.axis(1)}, 3 + kept);
    std::ranges::copy(x_.row(kept), strangers.row(kept).begin());
    product_(strangers.cview(), w_.cview(), y_.view(), 0);
    compare(y_.view().rows(kept, 1), kept, 1, "multiplied among other rows", result);
  }

  void compare_whole(std::string_view how, GemmSelfTest& result) {
    product_(x_.cview(), w_.cview(), y_.view(), 0);
    compare(y_.view(), 0, kRows, how, result);
  }

 private:
  void compare(TensorView<const float> y, std::size_t first, std::size_t rows, std::string_view how,
               GemmSelfTest& result) {
    for (std::size_t i = 0; i < rows; ++i) {
      ++result.rows_compared;
      if (std::memcmp(y.row(i).data(), expected_.row(first + i).data(), kColumns * sizeof(float)) ==
          0)
        continue;
      if (!result.difference.empty()) continue;
      result.difference =
          fmt::format("global row {} of [{} x {}] x [{} x {}]^T has other bytes when {}", first + i,
                      kRows, x_.axis(1), kColumns, x_.axis(1), how);
    }
  }

  const RowProduct& product_;
  Tensor<float> x_, w_, expected_, y_;
};

}  // namespace

GemmSelfTest gemm_self_test(const RowProduct& product) {
  GemmSelfTest result;
  const ThreadCountScope restore;
  const int threads_before = thread_count();
  for (const auto& shape : kCases) {
    set_thread_count(threads_before);
    SelfTest test(product, shape);
    for (const std::size_t fill : shape.fills) {
      for (const std::size_t first : {0, 1, 17, 63, 64, 95}) test.compare_part(first, fill, result);
    }
    for (const std::size_t kept : {0, 3, 63, 64, 159}) test.compare_among_strangers(kept, result);
    for (const int threads : {1, 2, 3}) {
      set_thread_count(threads);
      test.compare_whole(fmt::format("multiplied by {} threads", threads), result);
    }
  }
  result.passed = result.difference.empty();
  return result;
}

GemmSelfTest gemm_self_test() {
  Stream stream;
  return gemm_self_test([&](TensorView<const float> x, TensorView<const float> W,
                            TensorView<float> y, std::size_t first_row) {
    gemm_nt(x, PackedMatrix(W, {}, stream), y, first_row, stream);
  });
}

}  // namespace refract
