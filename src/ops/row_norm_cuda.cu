// u = (x - mean) / (std + eps); x_hat = u_hat std + mean, of each row x by itself.
// x, u, u_hat, x_hat [n, D] f32.
// A warp owns rows and a lane every 32nd column; lanes are added in a tree.
// Moved per element: x three times, two of them from a cache, and 4 written (back: 8).
// f64: sums, and the product before it is rounded once.
// Deterministic, bytes equal to the CPU's: the same lanes, the same tree.
#include <cmath>

#include "ops/cuda_bodies.hpp"
#include "refract/device/launch_cuda.cuh"
#include "refract/ops/row_norm.hpp"

namespace refract::cuda {
namespace {

__device__ double sum_of_lanes(double lane) {
  for (unsigned half = kWarp / 2; half > 0; half /= 2)
    lane += __shfl_down_sync(kWholeWarp, lane, half);
  return __shfl_sync(kWholeWarp, lane, 0);
}

struct RowUnits {
  double mean, std;
};
__device__ RowUnits units_of(const float* x, std::size_t width) {
  double sum = 0, squares = 0;
  for (std::size_t d = threadIdx.x % kWarp; d < width; d += kWarp) sum += static_cast<double>(x[d]);
  const double mean = sum_of_lanes(sum) / static_cast<double>(width);
  for (std::size_t d = threadIdx.x % kWarp; d < width; d += kWarp) {
    const double off = static_cast<double>(x[d]) - mean;
    squares += off * off;
  }
  squares = sum_of_lanes(squares);
  return {mean, width > 1 ? sqrt(squares / static_cast<double>(width - 1)) : 0.0};
}

__global__ void normalise(const float* x, std::size_t n, std::size_t width, float* u) {
  const std::size_t warp = (std::size_t{blockIdx.x} * blockDim.x + threadIdx.x) / kWarp,
                    warps = std::size_t{gridDim.x} * blockDim.x / kWarp;
  for (std::size_t i = warp; i < n; i += warps) {
    const RowUnits units = units_of(x + i * width, width);
    const double factor = 1 / (units.std + kRowNormEpsilon);
    for (std::size_t d = threadIdx.x % kWarp; d < width; d += kWarp)
      u[i * width + d] =
          static_cast<float>((static_cast<double>(x[i * width + d]) - units.mean) * factor);
  }
}

__global__ void restore(const float* x, const float* u_hat, std::size_t n, std::size_t width,
                        float* x_hat) {
  const std::size_t warp = (std::size_t{blockIdx.x} * blockDim.x + threadIdx.x) / kWarp,
                    warps = std::size_t{gridDim.x} * blockDim.x / kWarp;
  for (std::size_t i = warp; i < n; i += warps) {
    const RowUnits units = units_of(x + i * width, width);
    for (std::size_t d = threadIdx.x % kWarp; d < width; d += kWarp)
      x_hat[i * width + d] =
          static_cast<float>(static_cast<double>(u_hat[i * width + d]) * units.std + units.mean);
  }
}

}  // namespace

void normalise_rows(TensorView<const float> x, TensorView<float> u, Stream& stream) {
  const std::size_t n = x.axis(0);
  launch("normalise", normalise, grid_over(n * kWarp), stream, x.data(), n, x.axis(1), u.data());
}

void restore_rows(TensorView<const float> x, TensorView<const float> u_hat, TensorView<float> x_hat,
                  Stream& stream) {
  const std::size_t n = x.axis(0);
  launch("restore", restore, grid_over(n * kWarp), stream, x.data(), u_hat.data(), n, x.axis(1),
         x_hat.data());
}

}  // namespace refract::cuda
