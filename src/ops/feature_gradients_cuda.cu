// Weight gradients of features from their entries (ops/feature_gradients.hpp).
// input [n, D_in], error [n, D_out], W_dec [F, D_out], gradients [count, row] f32; entries by
// feature. 1: slopes, pre_j of each entry; half a warp owns an entry, a warp 32 of them. 2: a warp
// owns 128 columns of a feature's row, a lane 4 of them, 32 apart; one more warp owns its db_enc.
// So a feature that fires everywhere is many warps' work, in both.
// Per entry 8 D_out + 4 D_in bytes are read, mostly from L2; 4 bytes are written per gradient.
// f32, each product rounded, in the order and the 16 lanes of the CPU body: bytes equal to its.
// Deterministic: a sum is one thread's, or a fixed tree's.
#include <cstdint>

#include "ops/cuda_bodies.hpp"
#include "refract/device/launch_cuda.cuh"

namespace refract::cuda {
namespace {

constexpr unsigned kLanes = 16;  // of a dot product
constexpr unsigned kColumns = 4;
constexpr std::size_t kPiece = std::size_t{kColumns} * kWarp;
constexpr std::size_t kMostTermsOfGradient = 4;

struct Term {
  const std::uint64_t* starts;
  const std::uint32_t* rows;
  const float* values;
  float* slopes;
  const float* error;
  const double *factor, *per_entry;  // per_entry: or null
};
struct Terms {
  Term of[kMostTermsOfGradient];
  unsigned count;
};

struct Features {
  std::size_t first, count;
};

// The feature in whose range of entries j lies.
__device__ std::size_t feature_of(const std::uint64_t* starts, Features features, std::uint64_t j) {
  std::size_t low = features.first, high = low + features.count;
  while (high - low > 1) {
    const std::size_t middle = (low + high) / 2;
    if (starts[middle] <= j)
      low = middle;
    else
      high = middle;
  }
  return low;
}

__global__ void slopes(Term term, const float* W_dec, std::size_t d_out, Features features) {
  const std::uint64_t end = term.starts[features.first + features.count];
  const auto factor = static_cast<float>(*term.factor);
  const float per_entry = term.per_entry ? static_cast<float>(*term.per_entry) : 0.0F;
  const std::size_t warp = (std::size_t{blockIdx.x} * blockDim.x + threadIdx.x) / kWarp,
                    warps = std::size_t{gridDim.x} * blockDim.x / kWarp;
  const unsigned lane = threadIdx.x % kWarp;
  for (std::uint64_t tile = term.starts[features.first] + warp * kWarp; tile < end;
       tile += warps * kWarp) {
    // Each lane looks for one entry's feature, all at once.
    const bool any = tile + lane < end;
    const std::uint64_t direction_at =
        any ? feature_of(term.starts, features, tile + lane) * d_out : 0;
    const std::uint64_t error_at = any ? std::uint64_t{term.rows[tile + lane]} * d_out : 0;
    for (unsigned i = 0; i < kWarp && tile + i < end; i += kWarp / kLanes) {
      const unsigned entry = i + lane / kLanes;
      const float* direction =
          W_dec + __shfl_sync(kWholeWarp, direction_at, static_cast<int>(entry));
      const float* error = term.error + __shfl_sync(kWholeWarp, error_at, static_cast<int>(entry));
      float sum = 0;
      if (tile + entry < end) {
#pragma unroll 4
        for (std::size_t d = lane % kLanes; d < d_out; d += kLanes) sum += error[d] * direction[d];
      }
      for (unsigned half = kLanes / 2; half > 0; half /= 2)
        sum += __shfl_xor_sync(kWholeWarp, sum, static_cast<int>(half));
      if (lane % kLanes == 0 && tile + entry < end)
        term.slopes[tile + entry] = factor * sum + per_entry;
    }
  }
}

struct Shapes {
  std::size_t d_in, d_out, row;
  __host__ __device__ std::size_t input_pieces() const { return (d_in + kPiece - 1) / kPiece; }
  __host__ __device__ std::size_t pieces() const {
    return input_pieces() + (d_out + kPiece - 1) / kPiece + 1;
  }
};

// sums[c] += scale of entry j * from[row of j, column + 32 c], of the entries of feature f.
template <typename Scale>
__device__ void add_rows(const Term& term, std::size_t f, const float* from, std::size_t width,
                         std::size_t column, Scale scale, float (&sums)[kColumns]) {
  const std::uint64_t end = term.starts[f + 1];
#pragma unroll 8
  for (std::uint64_t j = term.starts[f]; j < end; ++j) {
    const float* row = from + term.rows[j] * width + column;
    const float by = scale(j);
    for (unsigned c = 0; c < kColumns; ++c)
      if (column + c * kWarp < width) sums[c] += by * row[c * kWarp];
  }
}

// db_enc, then zeros to the end of the row.
__device__ void write_tail(const Terms& terms, std::size_t f, const Shapes& at, float* gradient,
                           unsigned lane) {
  float sum = 0;
  for (unsigned t = 0; t < terms.count; ++t) {
    const std::uint64_t end = terms.of[t].starts[f + 1];
    for (std::uint64_t tile = terms.of[t].starts[f]; tile < end; tile += kWarp) {
      const float own = tile + lane < end ? terms.of[t].slopes[tile + lane] : 0.0F;
      for (unsigned i = 0; i < kWarp && tile + i < end; ++i)
        sum += __shfl_sync(kWholeWarp, own, static_cast<int>(i));
    }
  }
  const std::size_t bias = at.d_in + at.d_out;
  for (std::size_t d = bias + lane; d < at.row; d += kWarp) gradient[d] = d == bias ? sum : 0.0F;
}

__global__ void sum_entries(Terms terms, const float* input, Shapes at, Features features,
                            float* gradients) {
  const std::size_t warp = (std::size_t{blockIdx.x} * blockDim.x + threadIdx.x) / kWarp,
                    warps = std::size_t{gridDim.x} * blockDim.x / kWarp;
  const unsigned lane = threadIdx.x % kWarp;
  for (std::size_t item = warp; item < features.count * at.pieces(); item += warps) {
    const std::size_t piece = item % at.pieces(), f = features.first + item / at.pieces();
    float* gradient = gradients + item / at.pieces() * at.row;
    if (piece + 1 == at.pieces()) {
      write_tail(terms, f, at, gradient, lane);
      continue;
    }
    const bool encoder = piece < at.input_pieces();
    const std::size_t column = (encoder ? piece : piece - at.input_pieces()) * kPiece + lane,
                      width = encoder ? at.d_in : at.d_out;
    float sums[kColumns] = {};
    for (unsigned t = 0; t < terms.count; ++t) {
      const Term& term = terms.of[t];
      if (encoder) {
        add_rows(
            term, f, input, width, column, [&](std::uint64_t j) { return term.slopes[j]; }, sums);
      } else {
        const auto factor = static_cast<float>(*term.factor);
        add_rows(
            term, f, term.error, width, column,
            [&](std::uint64_t j) { return factor * term.values[j]; }, sums);
      }
    }
    float* to = gradient + (encoder ? 0 : at.d_in);
    for (unsigned c = 0; c < kColumns; ++c)
      if (column + c * kWarp < width) to[column + c * kWarp] = sums[c];
  }
}

}  // namespace

void feature_gradients(const GradientSource& source, std::size_t first, TensorView<float> gradients,
                       Stream& stream) {
  const Features features{first, gradients.axis(0)};
  const Shapes at{source.input.axis(1), source.W_dec.axis(1), gradients.axis(1)};
  if (source.terms.size() > kMostTermsOfGradient)
    throw_cuda_error("feature_gradients", stream.device().index, "more than four terms");
  Terms terms{};
  for (const GradientTerm& from : source.terms) {
    const Term term{from.entries.starts.data(), from.entries.rows.data(),
                    from.entries.values.data(), from.entries.slopes.data(),
                    from.error.data(),          from.factor.data(),
                    from.per_entry.data()};
    // As many warps as the list may fill, which the host does not know.
    launch("slopes", slopes, grid_over(from.entries.rows.size()), stream, term, source.W_dec.data(),
           at.d_out, features);
    terms.of[terms.count++] = term;
  }
  launch("sum_entries", sum_entries, grid_over(features.count * at.pieces() * kWarp), stream, terms,
         source.input.data(), at, features, gradients.data());
}

}  // namespace refract::cuda
