#include "refract/ops/row_norm.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "ops/backend.hpp"
#include "ops/cuda_bodies.hpp"
#include "ops/workers.hpp"
#include "refract/base/build_info.hpp"
#include "refract/base/parallel.hpp"
#include "refract/tensor/dot.hpp"

namespace refract {
namespace {

// The CUDA body's lanes and tree.
constexpr std::size_t kLanes = 32;

double sum_of(std::array<double, kLanes>& lanes) {
  for (std::size_t half = kLanes / 2; half > 0; half /= 2)
    for (std::size_t lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
  return lanes[0];
}

REFRACT_SIMD_CLONES void add_values(const float* x, std::size_t size, double* lanes) {
  std::size_t d = 0;
  for (; d + kLanes <= size; d += kLanes)
    for (std::size_t lane = 0; lane < kLanes; ++lane)
      lanes[lane] += static_cast<double>(x[d + lane]);
  for (std::size_t lane = 0; d + lane < size; ++lane)
    lanes[lane] += static_cast<double>(x[d + lane]);
}

REFRACT_SIMD_CLONES void add_squares(const float* x, double mean, std::size_t size, double* lanes) {
  std::size_t d = 0;
  for (; d + kLanes <= size; d += kLanes)
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const double off = static_cast<double>(x[d + lane]) - mean;
      lanes[lane] += off * off;
    }
  for (std::size_t lane = 0; d + lane < size; ++lane) {
    const double off = static_cast<double>(x[d + lane]) - mean;
    lanes[lane] += off * off;
  }
}

struct RowUnits {
  double mean = 0, std = 0;
};
RowUnits units_of(const float* x, std::size_t size) {
  std::array<double, kLanes> lanes{};
  add_values(x, size, lanes.data());
  const double mean = sum_of(lanes) / static_cast<double>(size);
  lanes.fill(0);
  add_squares(x, mean, size, lanes.data());
  return {mean, size > 1 ? std::sqrt(sum_of(lanes) / static_cast<double>(size - 1)) : 0};
}

// body(from the row's units): all rows, some at a time.
template <typename Body>
void with_units(TensorView<const float> x, Body&& body) {
  const std::size_t n = x.axis(0);
  for_each_row(n, [&](std::size_t i) { body(i, units_of(x.row(i).data(), x.axis(1))); });
}

}  // namespace

void normalise_rows(TensorView<const float> x, TensorView<float> u, Stream& stream) {
  const std::size_t n = x.axis(0), width = x.axis(1);
  expect_shape(u, "u", {{"n", n}, {"D", width}});
  if constexpr (has_cuda)
    if (stream.device().kind == DeviceKind::cuda) return cuda::normalise_rows(x, u, stream);
  expect_cpu(stream, "normalise_rows");
  with_units(x, [&](std::size_t i, const RowUnits& units) {
    const double factor = 1 / (units.std + kRowNormEpsilon);
    const float* from = x.row(i).data();
    float* to = u.row(i).data();
    for (std::size_t d = 0; d < width; ++d)
      to[d] = static_cast<float>((static_cast<double>(from[d]) - units.mean) * factor);
  });
}

void restore_rows(TensorView<const float> x, TensorView<const float> u_hat, TensorView<float> x_hat,
                  Stream& stream) {
  const std::size_t n = x.axis(0), width = x.axis(1);
  expect_shape(u_hat, "u_hat", {{"n", n}, {"D", width}});
  expect_shape(x_hat, "x_hat", {{"n", n}, {"D", width}});
  if constexpr (has_cuda)
    if (stream.device().kind == DeviceKind::cuda)
      return cuda::restore_rows(x, u_hat, x_hat, stream);
  expect_cpu(stream, "restore_rows");
  with_units(x, [&](std::size_t i, const RowUnits& units) {
    const float* from = u_hat.row(i).data();
    float* to = x_hat.row(i).data();
    for (std::size_t d = 0; d < width; ++d)
      to[d] = static_cast<float>(static_cast<double>(from[d]) * units.std + units.mean);
  });
}

}  // namespace refract
