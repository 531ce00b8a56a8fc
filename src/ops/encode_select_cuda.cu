// pre = (x - b_dec) W_enc^T + b_enc; of each row the k largest pre > 0, ascending, ties to the
// lower feature. x [n, D], W_enc [F, D], pre [P, F]: P rows at a time, always P, so that cuBLAS
// takes the same kernel for any n. centre: a thread owns elements of x; 8 bytes moved per element.
// Rows behind the last are zeros. product: cuBLAS, fp32 multiplied and added in fp32 (pedantic: no
// TF32, no emulation). select: a block owns a row, a thread every kThreads-th feature; reads pre
// four times, from L2 after the first. Deterministic: the sums are cuBLAS's with one stream and its
// own workspace, the selection counts integers only.
#include <algorithm>
#include <cstdint>

#include "refract/device/block_cuda.cuh"
#include "refract/device/launch_cuda.cuh"
#include "refract/ops/gemm_cuda.hpp"
#include "sae/topk_encoder_body.hpp"

namespace refract {
namespace {

constexpr unsigned kThreads = 256;
constexpr int kBins = 2048;  // of a histogram: 11 bits of the key
constexpr int kBinsPerThread = kBins / kThreads;
constexpr std::size_t kPre_bytes = std::size_t{256} << 20;
using Scan = cuda::BlockMemory<unsigned, kThreads>;

// centred [rows, D], of which the first `filled` have an x.
__global__ void centre(const float* x, const float* b_dec, float* centred, std::size_t d_in,
                       std::size_t filled, std::size_t rows) {
  const std::size_t stride = std::size_t{gridDim.x} * blockDim.x;
  for (std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x; i < rows * d_in;
       i += stride)
    centred[i] = i < filled * d_in ? x[i] - b_dec[i % d_in] : 0.0F;
}

// Bits of a positive float are ordered as its value. What is not positive, and NaN, is never
// selected: 0.
__device__ unsigned key_of(float pre) { return pre > 0.0F ? __float_as_uint(pre) : 0U; }

struct Row {
  const float* product;  // [F]
  const float* b_enc;    // [F]
  unsigned size;         // F
  __device__ float pre(unsigned f) const { return product[f] + b_enc[f]; }
};

// What the passes over the row share: `prefix` are the leading bits of the k-th largest key known
// so far, `wanted` how many of the keys with that prefix belong to the k.
struct Search {
  unsigned prefix, wanted, candidates;
};

// One pass: fixes the next bits of the k-th largest key. All threads of the block.
__device__ void narrow(const Row& row, unsigned mask, int shift, unsigned* bins, Search& search,
                       Scan& scan) {
  for (unsigned b = threadIdx.x; b < kBins; b += kThreads) bins[b] = 0;
  __syncthreads();
  const unsigned prefix = search.prefix, wanted = search.wanted;
  for (unsigned f = threadIdx.x; f < row.size; f += kThreads) {
    const unsigned key = key_of(row.pre(f));
    if (key != 0 && (key & mask) == prefix) atomicAdd(&bins[(key >> shift) & (kBins - 1)], 1U);
  }
  __syncthreads();
  // Thread t owns bins in descending order, so that the exclusive sum counts the larger keys.
  const int highest = kBins - 1 - static_cast<int>(threadIdx.x) * kBinsPerThread;
  unsigned own = 0, total = 0;
  for (int b = highest; b > highest - kBinsPerThread; --b) own += bins[b];
  unsigned above = cuda::exclusive_sum(own, total, scan);
  if (threadIdx.x == 0) search.candidates = total;
  for (int b = highest; b > highest - kBinsPerThread;
       --b) {  // at most one thread and bin holds the wanted-th key
    if (above < wanted && wanted <= above + bins[b]) {
      search.prefix = prefix | (static_cast<unsigned>(b) << shift);
      search.wanted = wanted - above;
    }
    above += bins[b];
  }
  __syncthreads();
}

// Writes, in ascending order, the features with a key above `least`, and the first `ties` of those
// equal to it.
__device__ void gather(const Row& row, unsigned least, unsigned ties, std::uint32_t* features,
                       float* values, std::uint32_t* count, Scan& scan) {
  unsigned above_before = 0, equal_before = 0;  // in the tiles so far; the same in all threads
  for (unsigned first = 0; first < row.size; first += kThreads) {
    const unsigned f = first + threadIdx.x;
    const float pre = f < row.size ? row.pre(f) : 0.0F;
    const unsigned key = key_of(pre);
    const bool above = key > least, equal = key != 0 && key == least;
    // Both counts in one sum: a tile has kThreads = 256 features, so 16 bits hold either.
    unsigned total = 0;
    const unsigned before =
        cuda::exclusive_sum((above ? 1U << 16 : 0U) | (equal ? 1U : 0U), total, scan);
    const unsigned larger = above_before + (before >> 16), same = equal_before + (before & 0xFFFFU);
    if (above || (equal && same < ties)) {
      const unsigned at = larger + min(same, ties);
      features[at] = f;
      values[at] = pre;
    }
    above_before += total >> 16;
    equal_before += total & 0xFFFFU;
  }
  if (threadIdx.x == 0) *count = above_before + min(equal_before, ties);
}

__global__ void __launch_bounds__(kThreads)
    select(const float* product, const float* b_enc, unsigned d_sae, unsigned k,
           std::uint32_t* features, float* values, std::uint32_t* counts) {
  __shared__ unsigned bins[kBins];
  __shared__ Search search;
  __shared__ Scan scan;
  const std::size_t r = blockIdx.x;
  const Row row{product + r * d_sae, b_enc, d_sae};
  if (threadIdx.x == 0) search = {0, k, 0};
  __syncthreads();
  // Positive floats have 31 bits: 11 + 10 + 10. The later passes see one known bit again, which
  // changes nothing.
  narrow(row, 0U, 20, bins, search, scan);
  const bool all = search.candidates <= k;  // nothing to choose: key 0 is below all of them
  if (!all) {
    narrow(row, 0x7FFU << 20, 10, bins, search, scan);
    narrow(row, 0x1FFFFFU << 10, 0, bins, search, scan);
  }
  gather(row, all ? 0U : search.prefix, all ? 0U : search.wanted, features + r * k, values + r * k,
         counts + r, scan);
}

class CudaTopkEncoder final : public TopkEncoderBody {
 public:
  explicit CudaTopkEncoder(Device device) : device_(device), gemm_(device) {}

  void pack(const SaeParameters&, Stream&) override {}  // cuBLAS reads W_enc as it lies

  void encode(const SaeParameters& parameters, TensorView<const float> x, const TopkRows& rows,
              Stream& stream) override {
    const std::size_t n = x.axis(0), panel = fit(parameters);
    for (std::size_t first = 0; first < n; first += panel)
      encode_panel(parameters, x.rows(first, std::min(panel, n - first)), first, rows, stream);
  }

 private:
  // Rows of a panel: a function of F alone.
  std::size_t fit(const SaeParameters& parameters) {
    const std::size_t d_in = parameters.d_in(), d_sae = parameters.d_sae();
    const std::size_t rows =
        std::clamp<std::size_t>(kPre_bytes / sizeof(float) / d_sae / 64 * 64, 64, 4096);
    if (product_.shape() != Shape{rows, d_sae})
      product_ = Tensor<float>(Shape{rows, d_sae}, device_);
    if (centred_.shape() != Shape{rows, d_in}) centred_ = Tensor<float>(Shape{rows, d_in}, device_);
    return rows;
  }

  void encode_panel(const SaeParameters& parameters, TensorView<const float> x, std::size_t first,
                    const TopkRows& rows, Stream& stream) {
    const std::size_t panel = product_.axis(0), filled = x.axis(0), k = rows.features.axis(1);
    cuda::launch("centre", centre, cuda::grid_over(panel * parameters.d_in()), stream, x.data(),
                 parameters.b_dec.data(), centred_.data(), parameters.d_in(), filled, panel);
    gemm_.nt(centred_.cview(), parameters.W_enc.cview(), product_.view(), stream);
    cuda::launch("select", select, {filled, kThreads}, stream, product_.data(),
                 parameters.b_enc.data(), static_cast<unsigned>(parameters.d_sae()),
                 static_cast<unsigned>(k), rows.features.data() + first * k,
                 rows.values.data() + first * k, rows.counts.data() + first);
  }

  Device device_;
  cuda::Gemm gemm_;
  Tensor<float> centred_, product_;
};

}  // namespace

std::unique_ptr<TopkEncoderBody> make_cuda_topk_encoder(Device device) {
  return std::make_unique<CudaTopkEncoder>(device);
}

}  // namespace refract
