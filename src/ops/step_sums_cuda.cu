// Of each slice, rows in order, over included rows: |e|^2, entries, their penalty, |aux error|^2,
// |prefix errors|^2, e; the slices added in order; the loss from the sums.
// errors [n, D] f32, entries by row; out [S, width], sums [width] f64.
// A block owns a slice's scalars: a warp a row's, of kRows rows at a time, then four threads add a
// column each. A thread owns a column of e of a slice, and one of the sums. One thread the loss.
// 8 bytes moved per element of error, from L2 the second time; 8 per entry: bound by memory.
// f64. Deterministic: a row's lanes in a fixed tree, rows and slices in order. Bytes equal to the
// CPU's, but for the penalty, which it adds entry by entry.
#include <cstdint>

#include "ops/cuda_bodies.hpp"
#include "ops/penalty_of_entry.hpp"
#include "ops/step_loss.hpp"
#include "refract/device/block_cuda.cuh"
#include "refract/device/launch_cuda.cuh"

namespace refract::cuda {
namespace {

constexpr unsigned kThreads = 512, kWarps = kThreads / kWarp, kRows = 64;
constexpr std::size_t kStaged = 4096;

struct Source {
  const std::uint8_t* included;
  const std::uint32_t* counts;
  const std::uint64_t* starts;  // of those that are penalised
  const std::uint32_t *penalised, *features;
  const float *values, *norms;  // norms: null: 1
  PenaltyKind kind;
  float steepness;
  const double* whole_penalty;     // null: none
  const float *error, *aux_error;  // null: not summed
  const std::uint64_t* any_dead;   // null: there are
  const float* prefix_errors[kMostPrefixes];
  unsigned prefixes;
  std::size_t d_out, width;
  __device__ float penalty(std::uint64_t j) const {
    return penalty_value({kind, steepness, norms ? norms[features[j]] : 1.0F, 0.0F}, values[j]);
  }
};

// Of a row, in every lane; in the order of squared_norm (tensor/dot.hpp).
__device__ double squared_norm_of(const float* row, std::size_t n) {
  double own = 0;
  for (std::size_t d = threadIdx.x % kWarp; d < n; d += kWarp)
    own += static_cast<double>(row[d]) * static_cast<double>(row[d]);
  return warp_sum(own);
}

__global__ void __launch_bounds__(kThreads)
    sum_scalars(Source from, std::size_t slice_rows, double* out) {
  __shared__ double of_row[kErrorSum][kRows];
  const unsigned lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const bool aux = from.aux_error && (!from.any_dead || *from.any_dead != 0);
  const std::size_t first = blockIdx.x * slice_rows;
  double sum = 0;
  for (std::size_t tile = 0; tile < slice_rows; tile += kRows) {
    const unsigned rows = static_cast<unsigned>(min(std::size_t{kRows}, slice_rows - tile));
    for (unsigned i = warp; i < rows; i += kWarps) {
      const std::size_t row = first + tile + i;
      if (from.included[row] == 0) continue;
      double penalty = 0, squares = 0, aux_squares = 0, prefix_squares = 0;
      if (from.kind != PenaltyKind::none)
        for (std::uint64_t j = lane; j < from.penalised[row]; j += kWarp)
          penalty += static_cast<double>(from.penalty(from.starts[row] + j));
      penalty = warp_sum(penalty);
      for (unsigned p = 0; from.error && p < from.prefixes; ++p)
        prefix_squares += squared_norm_of(from.prefix_errors[p] + row * from.d_out, from.d_out);
      if (from.error) squares = squared_norm_of(from.error + row * from.d_out, from.d_out);
      if (aux) aux_squares = squared_norm_of(from.aux_error + row * from.d_out, from.d_out);
      if (lane != 0) continue;
      of_row[kSquaredError][i] = squares;
      of_row[kActive][i] = static_cast<double>(from.counts[row]);
      of_row[kPenaltySum][i] = penalty;
      of_row[kAuxSquaredError][i] = aux_squares;
      of_row[kPrefixSquaredError][i] = prefix_squares;
    }
    __syncthreads();
    if (threadIdx.x < kErrorSum)
      for (unsigned i = 0; i < rows; ++i)
        if (from.included[first + tile + i] != 0) sum += of_row[threadIdx.x][i];
    __syncthreads();
  }
  if (threadIdx.x == kPenaltySum && blockIdx.x == 0 && from.whole_penalty)
    sum += *from.whole_penalty;
  if (threadIdx.x < kErrorSum) out[blockIdx.x * from.width + threadIdx.x] = sum;
}

// Of each slice and column of e, and behind them the same of e with all prefixes' errors.
__global__ void sum_errors(Source from, std::size_t slices, std::size_t slice_rows, double* out) {
  const std::size_t stride = std::size_t{gridDim.x} * blockDim.x, columns = from.width - kErrorSum;
  for (std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x; i < slices * columns;
       i += stride) {
    const std::size_t slice = i / columns, column = i % columns, d = column % from.d_out;
    double sum = 0;
    if (from.error)
      for (std::size_t row = slice * slice_rows; row < (slice + 1) * slice_rows; ++row) {
        if (from.included[row] == 0) continue;
        auto value = static_cast<double>(from.error[row * from.d_out + d]);
        for (unsigned p = 0; column >= from.d_out && p < from.prefixes; ++p)
          value += static_cast<double>(from.prefix_errors[p][row * from.d_out + d]);
        sum += value;
      }
    out[slice * from.width + kErrorSum + column] = sum;
  }
}

__global__ void add_in_order(const double* slices, std::size_t count, std::size_t width,
                             double* sums) {
  const std::size_t stride = std::size_t{gridDim.x} * blockDim.x;
  for (std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x; i < width; i += stride) {
    double sum = 0;
    for (std::size_t s = 0; s < count; ++s) sum += slices[s * width + i];
    sums[i] = sum;
  }
}

__global__ void __launch_bounds__(kThreads)
    loss(const double* sums, std::size_t d_out, const std::uint64_t* rows, LossTerms terms,
         double* scalars) {
  __shared__ double staged[kStaged];  // one thread alone would wait for each of them
  const std::size_t width = kErrorSum + d_out;
  const bool fits = width <= kStaged;
  if (fits)
    for (std::size_t i = threadIdx.x; i < width; i += kThreads) staged[i] = sums[i];
  __syncthreads();
  if (threadIdx.x == 0) loss_scalars_of(fits ? staged : sums, d_out, *rows, terms, scalars);
}

}  // namespace

void sum_slices(const SliceSums& from, std::size_t slice_rows, TensorView<double> out,
                Stream& stream) {
  const std::size_t slices = out.axis(0), d_out = from.error.axis(1);
  Source source{
      .included = from.included.data(),
      .counts = from.entries.counts.data(),
      .starts = from.penalised.starts.data(),
      .penalised = from.penalised.counts.data(),
      .features = from.penalised.features.data(),
      .values = from.penalised.values.data(),
      .norms = from.penalty.norms.data(),
      .kind = from.penalty.kind,
      .steepness = from.penalty.steepness,
      .whole_penalty = from.whole_penalty.data(),
      .error = from.errors ? from.error.data() : nullptr,
      .aux_error = from.errors && from.aux_error.size() != 0 ? from.aux_error.data() : nullptr,
      .any_dead = from.any_dead.size() != 0 ? from.any_dead.data() : nullptr,
      .prefix_errors = {},
      .prefixes = static_cast<unsigned>(from.prefix_errors.size()),
      .d_out = d_out,
      .width = out.axis(1)};
  for (std::size_t p = 0; p < from.prefix_errors.size(); ++p)
    source.prefix_errors[p] = from.prefix_errors[p].data();
  launch("sum_scalars", sum_scalars, Grid{slices, kThreads}, stream, source, slice_rows,
         out.data());
  launch("sum_errors", sum_errors, grid_over(slices * (source.width - kErrorSum)), stream, source,
         slices, slice_rows, out.data());
}

void add_slices(TensorView<const double> slices, TensorView<double> sums, Stream& stream) {
  launch("add_in_order", add_in_order, grid_over(sums.size(), 64), stream, slices.data(),
         slices.axis(0), sums.size(), sums.data());
}

void loss_scalars(TensorView<const double> sums, std::size_t d_out,
                  TensorView<const std::uint64_t> rows, const LossTerms& terms,
                  TensorView<double> scalars, Stream& stream) {
  launch("loss", loss, Grid{1, kThreads}, stream, sums.data(), d_out, rows.data(), terms,
         scalars.data());
}

}  // namespace refract::cuda
