#include "refract/ops/gate.hpp"

#include "ops/backend.hpp"
#include "ops/gelu_tanh.hpp"
#include "ops/workers.hpp"
#include "refract/base/parallel.hpp"

namespace refract {
namespace {

REFRACT_SIMD_CLONES void silu_row(const float* g, const float* v, float* y, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) y[i] = g[i] / (1.0F + fast_exp(-g[i])) * v[i];
}

REFRACT_SIMD_CLONES void gelu_row(const float* g, const float* v, float* y, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) y[i] = gelu_tanh(g[i]) * v[i];
}

template <typename Row>
void gate_rows(TensorView<const float> x, TensorView<float> y, Row&& gate_row) {
  const std::size_t rows = y.axis(0), width = y.axis(1);
  expect_shape(x, "x", {{"N", rows}, {"2 I", 2 * width}});
  for_each_row(rows, [&](std::size_t i) {
    const float* gate = x.row(i).data();
    gate_row(gate, gate + width, y.row(i).data(), width);
  });
}

}  // namespace

void silu_gate(TensorView<const float> x, TensorView<float> y, Stream& stream) {
  expect_cpu(stream, "silu_gate");
  gate_rows(x, y, silu_row);
}

void gelu_gate(TensorView<const float> x, TensorView<float> y, Stream& stream) {
  expect_cpu(stream, "gelu_gate");
  gate_rows(x, y, gelu_row);
}

}  // namespace refract
