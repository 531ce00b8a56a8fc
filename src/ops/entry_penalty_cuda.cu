// Norms of rows; soft firing rates of features; their penalty and its slope
// (ops/entry_penalty.hpp).
// W [F, D], norms [F], slopes [F] f32; rates [F + 1] u64; entries by row; penalty [1] f64.
// A warp owns a row of W, or the entries of a row; one block the penalty, a thread every 256th
// feature. 4 bytes moved per weight; 8 per entry and an atomic; 12 per feature: bound by memory.
// Norms in f64 in the 32 lanes of the CPU's squared_norm, rates in integers: bytes equal to the
// CPU's. ln in f64 may be an ulp off, and the penalty is a tree. Deterministic: fixed trees,
// integer atomics.
#include <cmath>
#include <cstdint>

#include "ops/clear_cuda.cuh"
#include "ops/cuda_bodies.hpp"
#include "ops/penalty_of_entry.hpp"
#include "refract/device/block_cuda.cuh"
#include "refract/device/launch_cuda.cuh"

namespace refract::cuda {
namespace {

constexpr unsigned kThreads = 256;

__global__ void norms_of_rows(const float* W, std::size_t features, std::size_t d, float* norms) {
  const std::size_t warps = std::size_t{gridDim.x} * blockDim.x / kWarp;
  for (std::size_t f = (std::size_t{blockIdx.x} * blockDim.x + threadIdx.x) / kWarp; f < features;
       f += warps) {
    double squared = 0;
    for (std::size_t i = threadIdx.x % kWarp; i < d; i += kWarp)
      squared += static_cast<double>(W[f * d + i]) * static_cast<double>(W[f * d + i]);
    squared = warp_sum(squared);
    if (threadIdx.x % kWarp == 0) norms[f] = static_cast<float>(std::sqrt(squared));
  }
}

__device__ void add_to(std::uint64_t* to, std::uint64_t value) {
  atomicAdd(reinterpret_cast<unsigned long long*>(to), static_cast<unsigned long long>(value));
}

__global__ void rates_of_entries(const std::uint64_t* starts, const std::uint32_t* counts,
                                 const std::uint32_t* features, const float* values, std::size_t n,
                                 float steepness, const std::uint8_t* included,
                                 std::uint64_t* rates, std::size_t last) {
  const std::size_t warps = std::size_t{gridDim.x} * blockDim.x / kWarp;
  const unsigned lane = threadIdx.x % kWarp;
  for (std::size_t row = (std::size_t{blockIdx.x} * blockDim.x + threadIdx.x) / kWarp; row < n;
       row += warps) {
    if (lane == 0 && included[row] != 0) add_to(rates + last, 1);
    const std::uint64_t first = starts[row], end = first + counts[row];
    for (std::uint64_t j = first + lane; j < end; j += kWarp)
      add_to(rates + features[j], rate_in_units(steepness, values[j]));
  }
}

__global__ void __launch_bounds__(kThreads)
    slopes_of_rates(const std::uint64_t* rates, std::size_t features, double target, float* slopes,
                    double* penalty) {
  __shared__ BlockMemory<double, kThreads> shared;
  const auto rows = static_cast<double>(rates[features]);
  double sum = 0;
  for (std::size_t f = threadIdx.x; f < features; f += kThreads) {
    if (rows == 0) {
      slopes[f] = 0;
      continue;
    }
    const RatePenalty own = rate_penalty(static_cast<double>(rates[f]) / kRateUnit / rows, target,
                                         [](double value) { return std::log(value); });
    slopes[f] = static_cast<float>(own.slope);
    sum += own.value;
  }
  sum = block_sum(sum, shared);
  if (threadIdx.x == 0) *penalty = sum * rows;
}

}  // namespace

void row_norms(TensorView<const float> W, TensorView<float> norms, Stream& stream) {
  launch("norms_of_rows", norms_of_rows, grid_over(W.axis(0) * kWarp), stream, W.data(), W.axis(0),
         W.axis(1), norms.data());
}

void sum_rates(const RowEntries& entries, float steepness, TensorView<const std::uint8_t> included,
               TensorView<std::uint64_t> rates, Stream& stream) {
  clear(rates, stream);
  launch("rates_of_entries", rates_of_entries, grid_over(entries.rows() * kWarp), stream,
         entries.starts.data(), entries.counts.data(), entries.features.data(),
         entries.values.data(), entries.rows(), steepness, included.data(), rates.data(),
         rates.size() - 1);
}

void rate_slopes(TensorView<const std::uint64_t> rates, double target, TensorView<float> slopes,
                 TensorView<double> penalty, Stream& stream) {
  launch("slopes_of_rates", slopes_of_rates, Grid{1, kThreads}, stream, rates.data(), slopes.size(),
         target, slopes.data(), penalty.data());
}

}  // namespace refract::cuda
