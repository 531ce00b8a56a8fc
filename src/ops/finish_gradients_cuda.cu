// What follows the gradients of all features: dW_dec -= (dW_dec . w) w, squared norms, db_dec, clip
// (ops/feature_gradients.hpp).
// gradients [count, row], W_enc [count, D_in], W_dec [count, D_out] f32; panels [P, width] f64.
// A block owns a panel of 64 features, a warp two of them; then a thread owns a column of a panel;
// then a block 32 columns of db_dec; then one block the norm.
// 12 bytes moved per gradient (read twice, written once, the second time from L1 or L2), 4 per
// weight. f32 in the 32 lanes of the CPU's dot, f64 for norms and columns in the CPU's order: bytes
// equal to its; only the last sum, kNorm, is a tree. Deterministic: fixed orders and trees.
#include <cmath>
#include <cstdint>

#include "ops/cuda_bodies.hpp"
#include "ops/slope_of_entry.hpp"
#include "ops/step_loss.hpp"
#include "refract/device/block_cuda.cuh"
#include "refract/device/launch_cuda.cuh"

namespace refract::cuda {
namespace {

constexpr unsigned kThreads = 1024;
constexpr unsigned kPanel = static_cast<unsigned>(kPanelFeatures);
constexpr unsigned kColumnThreads = 256;

struct Layout {
  std::size_t count, d_in, d_out, row;
};

// One feature by a warp; returns the squared norm of its row in every lane.
__device__ double finish_row(float* gradient, const float* direction, const Layout& at,
                             const DecoderRule& decoder, unsigned lane) {
  float* dW_dec = gradient + at.d_in;
  float along = 0;
  for (std::size_t d = lane; d < at.d_out; d += kWarp) along += dW_dec[d] * direction[d];
  along = -warp_sum(along);
  for (std::size_t d = lane; d < at.d_out; d += kWarp) {
    const float value = decoder.free_norm ? dW_dec[d] : dW_dec[d] + along * direction[d];
    dW_dec[d] = decoder.non_negative && direction[d] == 0 && value > 0 ? 0.0F : value;
  }
  __syncwarp();  // the row begins at another lane than dW_dec
  double norm = 0;
  for (std::size_t d = lane; d < at.row; d += kWarp) {
    const auto value = static_cast<double>(gradient[d]);
    norm += value * value;
  }
  return warp_sum(norm);
}

__global__ void __launch_bounds__(kThreads)
    finish_panel(float* gradients, const float* W_dec, Layout at, DecoderRule decoder,
                 double* panels, std::size_t width) {
  __shared__ double norms[kPanel];
  const std::size_t first = std::size_t{blockIdx.x} * kPanel;
  const auto features = static_cast<unsigned>(min(std::size_t{kPanel}, at.count - first));
  for (unsigned f = threadIdx.x / kWarp; f < features; f += kThreads / kWarp) {
    const double norm = finish_row(gradients + (first + f) * at.row, W_dec + (first + f) * at.d_out,
                                   at, decoder, threadIdx.x % kWarp);
    if (threadIdx.x % kWarp == 0) norms[f] = norm;
  }
  __syncthreads();
  if (threadIdx.x != 0) return;
  double sum = 0;
  for (unsigned f = 0; f < features; ++f) sum += norms[f];
  panels[blockIdx.x * width] = sum;
}

// panels[p, 1 + d] = - sum over the panel's features of d loss / d pre * W_enc[d].
__global__ void sum_encoders(const float* gradients, const float* W_enc, const float* r_mag,
                             Layout at, double* panels, std::size_t number) {
  const std::size_t stride = std::size_t{gridDim.x} * blockDim.x;
  for (std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x; i < number * at.d_in;
       i += stride) {
    const std::size_t panel = i / at.d_in, d = i % at.d_in;
    const std::size_t end = min(at.count, (panel + 1) * kPanel);
    double sum = 0;
#pragma unroll 8
    for (std::size_t f = panel * kPanel; f < end; ++f)
      sum -= pre_gradient(gradients + f * at.row, {at.d_in, at.d_out}, r_mag, f) *
             static_cast<double>(W_enc[f * at.d_in + d]);
    panels[panel * (1 + at.d_in) + 1 + d] = sum;
  }
}

// The panels' parts are read 64 at a time by all warps and added in order by the first.
__global__ void __launch_bounds__(kColumnThreads)
    sum_panels(const double* error_sums, const double* panels, std::size_t number,
               std::size_t width, const double* factor, double* db_dec, std::size_t d_out) {
  __shared__ double parts[kPanel][kWarp];
  const unsigned lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const std::size_t d = std::size_t{blockIdx.x} * kWarp + lane;
  double sum = d < d_out ? *factor * error_sums[d] : 0.0;
  for (std::size_t first = 0; width > 1 && first < number; first += kPanel) {
    const auto here = static_cast<unsigned>(min(std::size_t{kPanel}, number - first));
    for (unsigned p = warp; p < here; p += kColumnThreads / kWarp)
      parts[p][lane] = d < d_out ? panels[(first + p) * width + 1 + d] : 0.0;
    __syncthreads();
    if (warp == 0)
      for (unsigned p = 0; p < here; ++p) sum += parts[p][lane];
    __syncthreads();
  }
  if (warp == 0 && d < d_out) db_dec[d] = sum;
}

__global__ void __launch_bounds__(kThreads)
    weigh(const double* panels, std::size_t number, std::size_t width, const double* db_dec,
          std::size_t d_out, double clip, double* scalars) {
  __shared__ BlockMemory<double, kThreads> shared;
  double squared = 0;
  for (std::size_t p = threadIdx.x; p < number; p += kThreads) squared += panels[p * width];
  for (std::size_t d = threadIdx.x; d < d_out; d += kThreads) squared += db_dec[d] * db_dec[d];
  squared = block_sum(squared, shared);
  if (threadIdx.x == 0) clip_scalars_of(sqrt(squared), clip, scalars);
}

struct Values {
  const float* data;
  std::size_t size;
};
Values values_of(TensorView<const float> view) { return {view.data(), view.size()}; }

// The bits of the largest magnitude, which are ordered as it is; of what is not finite infinity's.
__device__ unsigned largest_of(const Values& values) {
  constexpr unsigned kInfinity = 0x7F800000U;
  unsigned largest = 0;
  for (std::size_t i = threadIdx.x; i < values.size; i += kThreads)
    largest = max(largest, min(__float_as_uint(values.data[i]) & 0x7FFFFFFFU, kInfinity));
  return largest;
}

// One block: it works once, before the run ends.
__global__ void __launch_bounds__(kThreads)
    explain(Values x, Values W_enc, Values b_enc, Values b_dec, double* scalars) {
  __shared__ BlockMemory<unsigned, kThreads> shared;
  if (scalars[kFinite] != 0) return;
  const unsigned input = block_max(largest_of(x), shared);
  const unsigned weight =
      block_max(max(largest_of(W_enc), max(largest_of(b_enc), largest_of(b_dec))), shared);
  if (threadIdx.x != 0) return;
  scalars[kLargestInput] = static_cast<double>(__uint_as_float(input));
  scalars[kLargestWeight] = static_cast<double>(__uint_as_float(weight));
}

}  // namespace

void finish_gradients(const FinishGradients& how, TensorView<float> gradients,
                      TensorView<double> panels, Stream& stream) {
  const Layout at{gradients.axis(0), how.W_enc.axis(1), how.W_dec.axis(1), gradients.axis(1)};
  const std::size_t number = panels.axis(0), width = panels.axis(1);
  launch("finish_panel", finish_panel, Grid{number, kThreads}, stream, gradients.data(),
         how.W_dec.data(), at, how.decoder, panels.data(), width);
  if (how.input_is_centred)
    launch("sum_encoders", sum_encoders, grid_over(number * at.d_in), stream, gradients.data(),
           how.W_enc.data(), how.r_mag.data(), at, panels.data(), number);
}

void bias_gradient(TensorView<const double> errors, TensorView<const double> panels, double clip,
                   TensorView<double> db_dec, TensorView<double> scalars, Stream& stream) {
  const std::size_t d_out = db_dec.size(), number = panels.axis(0), width = panels.axis(1);
  launch("sum_panels", sum_panels, Grid{(d_out + kWarp - 1) / kWarp, kColumnThreads}, stream,
         errors.data(), panels.data(), number, width, scalars.data() + kErrorFactor, db_dec.data(),
         d_out);
  launch("weigh", weigh, Grid{1, kThreads}, stream, panels.data(), number, width, db_dec.data(),
         d_out, clip, scalars.data());
}

void explain_overflow(TensorView<const float> x, TensorView<const float> W_enc,
                      TensorView<const float> b_enc, TensorView<const float> b_dec,
                      TensorView<double> scalars, Stream& stream) {
  launch("explain", explain, Grid{1, kThreads}, stream, values_of(x), values_of(W_enc),
         values_of(b_enc), values_of(b_dec), scalars.data());
}

}  // namespace refract::cuda
