// pre = x W_enc^T + b_enc and what is kept of each row (ops/encode_select.hpp).
// x [n, D], W_enc [F, D], pre [P, F] without b_enc: P rows at a time, always P, so that cuBLAS
// takes the same kernel for any n. Rows behind the last are zeros. pad: a thread owns elements.
// Product: cuBLAS, or unless_gemm_cuda.cu. Selection: a block owns a row, a thread every 256th
// feature, then a warp a range of them. pad moves 8 bytes per element of x; the selection reads pre
// five times, from L2 after the first. fp32 multiplied and added in fp32 (cuBLAS pedantic: no TF32,
// no emulation), b_enc added last. Deterministic: cuBLAS has one stream and its own workspace, the
// selection counts integers. Only where a row lies in a shared list depends on the schedule, which
// RowEntries leaves open.
#include <algorithm>
#include <cstdint>

#include "ops/cuda_bodies.hpp"
#include "ops/encode_select_body.hpp"
#include "ops/select_row_cuda.cuh"
#include "refract/device/launch_cuda.cuh"
#include "refract/ops/gemm_cuda.hpp"

namespace refract::cuda {
namespace {

__global__ void pad(const float* x, std::size_t filled, float* padded, std::size_t size) {
  const std::size_t stride = std::size_t{gridDim.x} * blockDim.x;
  for (std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x; i < size; i += stride)
    padded[i] = i < filled ? x[i] : 0.0F;
}

__global__ void empty_list(const std::uint64_t* unless, std::uint64_t* used) {
  if (unless && *unless != 0) return;
  *used = 0;
}

struct Panel {
  const float *product, *b_enc;
  std::uint32_t d_sae;
  const std::uint8_t* included;  // of the panel's rows, or null: all
  const std::uint64_t* unless;   // or null
  __device__ bool skipped() const { return unless && *unless != 0; }
  __device__ bool excludes(std::size_t row) const { return included && included[row] == 0; }
};

struct Pre {
  const float *product, *b_enc;  // [F]
  __device__ Pre(const Panel& panel, std::size_t row)
      : product(panel.product + row * panel.d_sae), b_enc(panel.b_enc) {}
  __device__ float at(std::uint32_t f) const { return product[f] + b_enc[f]; }
};

// Bits of a positive float are ordered as its value. What is not positive, and NaN, is never
// chosen.
struct Positives {
  unsigned size;  // F
  Pre pre;
  __device__ unsigned key(unsigned f) const {
    const float value = pre.at(f);
    return value > 0.0F ? __float_as_uint(value) << 1 : 0U;
  }
  __device__ std::uint32_t feature(unsigned f) const { return f; }
  __device__ float value(unsigned f) const { return pre.at(f); }
};

// The same of magnitudes.
struct Magnitudes {
  unsigned size;
  Pre pre;
  __device__ unsigned key(unsigned f) const {
    const unsigned bits = __float_as_uint(pre.at(f)) & 0x7FFFFFFFU;
    return bits <= 0x7F800000U ? bits << 1 : 0U;
  }
  __device__ std::uint32_t feature(unsigned f) const { return f; }
  __device__ float value(unsigned f) const { return pre.at(f); }
};

struct Bounds {
  const float* floors;  // [F], or null: 0
  float share, offset, least;
};

struct AboveFloor {
  unsigned size;
  Pre pre;
  Bounds bounds;
  __device__ unsigned key(unsigned f) const {
    const float value = pre.at(f);
    const float floor = bounds.floors ? bounds.floors[f] : 0.0F;
    return value > bounds.least && value > bounds.share * floor + bounds.offset ? 1U : 0U;
  }
  __device__ std::uint32_t feature(unsigned f) const { return f; }
  __device__ float value(unsigned f) const { return pre.at(f); }
};

// Of any sign, in order: of a negative float the more bits the smaller. -0 equals 0. Neither NaN
// nor -infinity is chosen.
struct Dead {
  unsigned size;
  Pre pre;
  const std::uint32_t* features;
  __device__ unsigned key(unsigned i) const {
    const float value = pre.at(features[i]) + 0.0F;
    if (!(value >= -3.402823466e38F)) return 0;
    const unsigned bits = __float_as_uint(value);
    return bits >> 31 != 0 ? ~bits : bits | 0x80000000U;
  }
  __device__ std::uint32_t feature(unsigned i) const { return features[i]; }
  __device__ float value(unsigned i) const { return pre.at(features[i]); }
};

// The list by row, from the panel's first row on.
struct Lists {
  std::uint64_t *used, *starts;
  std::uint32_t *counts, *features;
  float* values;
  __device__ RowPlace place(std::size_t row) const {
    return {used, starts + row, counts + row, features, values};
  }
};

__global__ void __launch_bounds__(kSelectThreads)
    keep_largest_of_row(Panel panel, unsigned k, bool by_magnitude, Lists to) {
  __shared__ SelectMemory shared;
  const std::size_t row = blockIdx.x;
  if (panel.skipped()) return;
  const unsigned size = panel.excludes(row) ? 0 : panel.d_sae;
  if (by_magnitude) {
    const Magnitudes magnitudes{size, Pre(panel, row)};
    write_chosen(magnitudes, edge_of_largest(magnitudes, k, shared), to.place(row), shared);
    return;
  }
  const Positives positives{size, Pre(panel, row)};
  write_chosen(positives, edge_of_largest(positives, k, shared), to.place(row), shared);
}

__global__ void __launch_bounds__(kSelectThreads)
    keep_above_floor(Panel panel, Bounds bounds, Lists to) {
  __shared__ SelectMemory shared;
  const std::size_t row = blockIdx.x;
  if (panel.skipped()) return;
  const AboveFloor above{panel.excludes(row) ? 0 : panel.d_sae, Pre(panel, row), bounds};
  write_chosen(above, Edge{0, 0}, to.place(row), shared);
}

__global__ void __launch_bounds__(kSelectThreads)
    keep_largest_dead(Panel panel, const std::uint32_t* features, const std::uint64_t* count,
                      unsigned k, Lists to) {
  __shared__ SelectMemory shared;
  const std::size_t row = blockIdx.x;
  if (panel.skipped()) return;
  const Dead dead{panel.excludes(row) ? 0 : static_cast<unsigned>(*count), Pre(panel, row),
                  features};
  write_chosen(dead, edge_of_largest(dead, k, shared), to.place(row), shared);
}

Lists lists_of(const RowEntries& out, std::size_t first) {
  return {out.per_row == 0 ? out.used.data() : nullptr, out.starts.data() + first,
          out.counts.data() + first, out.features.data(), out.values.data()};
}

class CudaEncodeSelect final : public EncodeSelectBody {
 public:
  CudaEncodeSelect(std::size_t d_sae, std::size_t d_in, Device device)
      : gemm_(device),
        padded_(Shape{cuda_panel_rows(d_sae), d_in}, device),
        product_(Shape{cuda_panel_rows(d_sae), d_sae}, device) {}

  void pack(TensorView<const float> W_enc, TensorView<const float> b_enc, Stream&) override {
    W_enc_ = W_enc;  // cuBLAS reads it as it lies
    b_enc_ = b_enc;
  }

  void run(const EncodeRequest& r, Stream& stream) override {
    if (r.out.per_row == 0)
      launch("empty_list", empty_list, Grid{1, 1}, stream, r.unless.data(), r.out.used.data());
    const std::size_t n = r.x.axis(0), height = product_.axis(0);
    for (std::size_t first = 0; first < n; first += height)
      run_panel(r, first, std::min(height, n - first), stream);
  }

 private:
  void run_panel(const EncodeRequest& r, std::size_t first, std::size_t rows, Stream& stream) {
    multiply(r.x.rows(first, rows), r.unless, stream);
    const Panel panel{product_.data(), b_enc_.data(), static_cast<std::uint32_t>(product_.axis(1)),
                      r.included.size() != 0 ? r.included.data() + first : nullptr,
                      r.unless.data()};
    const Grid grid{rows, kSelectThreads};
    const Lists out = lists_of(r.out, first);
    if (r.choice.k > 0)
      launch("keep_largest_of_row", keep_largest_of_row, grid, stream, panel,
             static_cast<unsigned>(r.choice.k), r.choice.by_magnitude, out);
    else
      launch("keep_above_floor", keep_above_floor, grid, stream, panel,
             Bounds{r.choice.floor.data(), r.choice.share, r.choice.offset, r.choice.least}, out);
    if (r.aux && r.aux->k > 0)
      launch("keep_largest_dead", keep_largest_dead, grid, stream, panel,
             r.aux->dead.features.data(), r.aux->dead.count.data(), static_cast<unsigned>(r.aux->k),
             lists_of(r.aux->out, first));
  }

  void multiply(TensorView<const float> x, TensorView<const std::uint64_t> unless, Stream& stream) {
    if (unless.size() != 0)
      return gemm_nt_unless(unless, x, W_enc_, product_.view().rows(0, x.axis(0)), stream);
    launch("pad", pad, grid_over(padded_.size()), stream, x.data(), x.size(), padded_.data(),
           padded_.size());
    gemm_.nt(padded_.cview(), W_enc_, product_.view(), stream);
  }

  Gemm gemm_;
  TensorView<const float> W_enc_, b_enc_;
  Tensor<float> padded_, product_;
};

}  // namespace
}  // namespace refract::cuda

std::unique_ptr<refract::EncodeSelectBody> refract::make_cuda_encode_select(std::size_t d_sae,
                                                                            std::size_t d_in,
                                                                            Device device) {
  return std::make_unique<cuda::CudaEncodeSelect>(d_sae, d_in, device);
}
