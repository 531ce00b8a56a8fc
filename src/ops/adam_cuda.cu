// g = scale * gradient; m = beta1 m + rest1 g; v = beta2 v + rest2 g^2;
// w -= rate * m / (sqrt(v) * root + epsilon); decoder rows back to the nearest unit row.
// gradients [count, GradientRow] f32; w, m, v [count, D_in], [count, D_out], [count] f32.
// A warp owns a feature, a lane every 32nd of its weights: no lane reads what another wrote.
// 28 bytes moved per weight, 8 more from cache for the norm: bound by memory.
// f32 as in the CPU body, the norm in f64 with its 32 lanes and its tree: deterministic, bytes
// equal to the CPU's.
#include <cmath>
#include <cstdint>

#include "ops/cuda_bodies.hpp"
#include "refract/device/block_cuda.cuh"
#include "refract/device/launch_cuda.cuh"

namespace refract::cuda {
namespace {

struct Weights {
  float *w, *m, *v;
};

struct Parameters {
  Weights W_enc, W_dec, b_enc, further[kFurther];
  std::size_t count;
  GradientRow at;
  bool further_is_threshold;
  DecoderRule decoder;
};

__device__ void update(float gradient, float scale, const AdamNumbers& f, const Weights& weights,
                       std::size_t i) {
  const float g = scale * gradient;
  const float m = f.beta1 * weights.m[i] + f.rest1 * g;
  const float v = f.beta2 * weights.v[i] + f.rest2 * (g * g);
  weights.m[i] = m;
  weights.v[i] = v;
  weights.w[i] -= f.rate * m / (sqrtf(v) * f.root + f.epsilon);
}

// Without a positive entry the first of the largest becomes 1.
__device__ void make_non_negative(float* row, std::size_t n) {
  const unsigned lane = threadIdx.x % kWarp;
  float largest = 0;
  std::size_t at = n;  // n: none
  for (std::size_t d = lane; d < n; d += kWarp)
    if (at == n || row[d] > largest) largest = row[d], at = d;
  for (unsigned step = kWarp / 2; step > 0; step /= 2) {
    const float other = __shfl_xor_sync(kWholeWarp, largest, static_cast<int>(step));
    const std::size_t there = __shfl_xor_sync(kWholeWarp, at, static_cast<int>(step));
    if (there != n && (at == n || other > largest || (other == largest && there < at)))
      largest = other, at = there;
  }
  for (std::size_t d = lane; d < n; d += kWarp)
    row[d] = !(largest > 0) && d == at ? 1.0F : row[d] > 0 ? row[d] : 0.0F;
}

__device__ void to_unit_norm(float* row, std::size_t n) {
  double squared = 0;
  for (std::size_t d = threadIdx.x % kWarp; d < n; d += kWarp)
    squared += static_cast<double>(row[d]) * static_cast<double>(row[d]);
  squared = warp_sum(squared);
  if (!(squared > 0)) return;
  const auto factor = static_cast<float>(1 / std::sqrt(squared));
  for (std::size_t d = threadIdx.x % kWarp; d < n; d += kWarp) row[d] = factor * row[d];
}

__global__ void update_rows(const float* gradients, Parameters to, AdamNumbers numbers,
                            const double* scalars) {
  if (scalars[kFinite] == 0) return;
  const auto scale = static_cast<float>(scalars[kScale]);
  const unsigned lane = threadIdx.x % kWarp;
  const std::size_t warps = std::size_t{gridDim.x} * blockDim.x / kWarp;
  for (std::size_t i = (std::size_t{blockIdx.x} * blockDim.x + threadIdx.x) / kWarp; i < to.count;
       i += warps) {
    const GradientRow& at = to.at;
    const float* gradient = gradients + i * at.size();
    for (std::size_t d = lane; d < at.d_in; d += kWarp)
      update(gradient[d], scale, numbers, to.W_enc, i * at.d_in + d);
    for (std::size_t d = lane; d < at.d_out; d += kWarp)
      update(gradient[at.decoder() + d], scale, numbers, to.W_dec, i * at.d_out + d);
    if (lane == 0) update(gradient[at.bias()], scale, numbers, to.b_enc, i);
    for (unsigned j = 0; j < kFurther; ++j)
      if (lane == 0 && to.further[j].w)
        update(gradient[at.further(j)], scale, numbers, to.further[j], i);
    if (lane == 0 && to.further_is_threshold)
      to.further[0].w[i] = to.further[0].w[i] > 0 ? to.further[0].w[i] : 0.0F;
    float* direction = to.W_dec.w + i * at.d_out;
    if (to.decoder.non_negative) make_non_negative(direction, at.d_out);
    if (!to.decoder.free_norm) to_unit_norm(direction, at.d_out);
  }
}

__global__ void update_vector(const double* gradient, std::size_t size, Weights weights,
                              AdamNumbers numbers, const double* scalars) {
  if (scalars[kFinite] == 0) return;
  const auto scale = static_cast<float>(scalars[kScale]);
  const std::size_t stride = std::size_t{gridDim.x} * blockDim.x;
  for (std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x; i < size; i += stride)
    update(static_cast<float>(gradient[i]), scale, numbers, weights, i);
}

Weights weights_of(const TensorView<float>& w, const TensorView<float>& m,
                   const TensorView<float>& v) {
  return {w.data(), m.data(), v.data()};
}

}  // namespace

void adam_rows(TensorView<const float> gradients, const AdamRows& rows, const AdamNumbers& numbers,
               TensorView<const double> scalars, Stream& stream) {
  const std::size_t count = gradients.axis(0);
  const auto weights = [](const AdamWeights& of) { return weights_of(of.w, of.m, of.v); };
  const Parameters to{.W_enc = weights(rows.W_enc),
                      .W_dec = weights(rows.W_dec),
                      .b_enc = weights(rows.b_enc),
                      .further = {weights(rows.further[0]), weights(rows.further[1])},
                      .count = count,
                      .at = {rows.W_enc.w.axis(1), rows.W_dec.w.axis(1)},
                      .further_is_threshold = rows.further_is_threshold,
                      .decoder = rows.decoder};
  launch("update_rows", update_rows, grid_over(count * kWarp), stream, gradients.data(), to,
         numbers, scalars.data());
}

void adam_vector(TensorView<const double> gradient, TensorView<float> w, TensorView<float> m,
                 TensorView<float> v, const AdamNumbers& numbers, TensorView<const double> scalars,
                 Stream& stream) {
  launch("update_vector", update_vector, grid_over(gradient.size()), stream, gradient.data(),
         gradient.size(), weights_of(w, m, v), numbers, scalars.data());
}

}  // namespace refract::cuda
