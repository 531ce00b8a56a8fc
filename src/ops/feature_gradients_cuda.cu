// Weight gradients of features from their entries (ops/feature_gradients.hpp).
// input [n, D_in], error [n, D_out], W_dec [F, D_out], gradients [count, row] f32; entries by
// feature. 1: slopes, pre_j of each entry; half a warp owns an entry, a warp 32 of them. 2: a warp
// owns 128 columns of a feature's row, a lane 4 of them, 32 apart; one more warp owns its tail:
// db_enc and what follows it.
// So a feature that fires everywhere is many warps' work, in both.
// Per entry 8 D_out + 4 D_in bytes are read, mostly from L2; 4 bytes are written per gradient.
// f32, each product rounded, in the order and the 16 lanes of the CPU body: bytes equal to its.
// Deterministic: a sum is one thread's, or a fixed tree's.
#include <cstdint>

#include "ops/cuda_bodies.hpp"
#include "ops/slope_of_entry.hpp"
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
  float* slopes;  // of each entry: d loss / d value, or, through a threshold, its own part
  const float* error;
  SlopePointers of;
  bool moves_decoder;
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
  const std::size_t warp = (std::size_t{blockIdx.x} * blockDim.x + threadIdx.x) / kWarp,
                    warps = std::size_t{gridDim.x} * blockDim.x / kWarp;
  const unsigned lane = threadIdx.x % kWarp;
  for (std::uint64_t tile = term.starts[features.first] + warp * kWarp; tile < end;
       tile += warps * kWarp) {
    // Each lane looks for one entry's feature, all at once.
    const bool any = tile + lane < end;
    const std::uint64_t feature = any ? feature_of(term.starts, features, tile + lane) : 0;
    const std::uint64_t error_at = any ? std::uint64_t{term.rows[tile + lane]} * d_out : 0;
    for (unsigned i = 0; i < kWarp && tile + i < end; i += kWarp / kLanes) {
      const unsigned entry = i + lane / kLanes;
      const std::uint64_t f = __shfl_sync(kWholeWarp, feature, static_cast<int>(entry));
      const float* direction = W_dec + f * d_out;
      const float* error = term.error + __shfl_sync(kWholeWarp, error_at, static_cast<int>(entry));
      float sum = 0;
      if (tile + entry < end) {
#pragma unroll 4
        for (std::size_t d = lane % kLanes; d < d_out; d += kLanes) sum += error[d] * direction[d];
      }
      for (unsigned half = kLanes / 2; half > 0; half /= 2)
        sum += __shfl_xor_sync(kWholeWarp, sum, static_cast<int>(half));
      if (lane % kLanes == 0 && tile + entry < end) {
        const EntrySlopes own(term.of, f);
        const float slope = own.of_value(sum, term.values[tile + entry]);
        term.slopes[tile + entry] =
            own.through == Through::threshold ? own.of_threshold(slope) : slope;
      }
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

// The sum over a term's entries, in order, in every lane; use(j) is asked by one lane each.
template <typename Use>
__device__ float sum_in_order(const Term& term, std::size_t f, unsigned lane, float sum, Use use) {
  const std::uint64_t end = term.starts[f + 1];
  for (std::uint64_t tile = term.starts[f]; tile < end; tile += kWarp) {
    const float own = tile + lane < end ? use(tile + lane) : 0.0F;
    for (unsigned i = 0; i < kWarp && tile + i < end; ++i)
      sum += __shfl_sync(kWholeWarp, own, static_cast<int>(i));
  }
  return sum;
}

// db_enc and those of the feature's further numbers, then zeros to the end of the row.
__device__ void write_tail(const Terms& terms, std::size_t f, const GradientRow& at,
                           float* gradient, unsigned lane) {
  float bias = 0, first = 0, second = 0;
  for (unsigned t = 0; t < terms.count; ++t) {
    const Term& term = terms.of[t];
    const auto slope = [&](std::uint64_t j) { return term.slopes[j]; };
    if (term.of.through == Through::pre) {
      bias = sum_in_order(term, f, lane, bias, slope);
      continue;
    }
    first = sum_in_order(term, f, lane, first, slope);
    if (term.of.through == Through::gain)
      second = sum_in_order(term, f, lane, second, [&](std::uint64_t j) {
        return term.slopes[j] * (term.values[j] - term.of.first[f]);
      });
  }
  for (std::size_t d = at.bias() + lane; d < at.size(); d += kWarp)
    gradient[d] = d == at.bias()       ? bias
                  : d == at.further(0) ? first
                  : d == at.further(1) ? second
                                       : 0.0F;
}

__global__ void sum_entries(Terms terms, const float* input, const float* W_dec, Shapes at,
                            Features features, float* gradients) {
  const std::size_t warp = (std::size_t{blockIdx.x} * blockDim.x + threadIdx.x) / kWarp,
                    warps = std::size_t{gridDim.x} * blockDim.x / kWarp;
  const unsigned lane = threadIdx.x % kWarp;
  for (std::size_t item = warp; item < features.count * at.pieces(); item += warps) {
    const std::size_t piece = item % at.pieces(), f = features.first + item / at.pieces();
    float* gradient = gradients + item / at.pieces() * at.row;
    if (piece + 1 == at.pieces()) {
      write_tail(terms, f, {at.d_in, at.d_out}, gradient, lane);
      continue;
    }
    const bool encoder = piece < at.input_pieces();
    const std::size_t column = (encoder ? piece : piece - at.input_pieces()) * kPiece + lane,
                      width = encoder ? at.d_in : at.d_out;
    float sums[kColumns] = {};
    for (unsigned t = 0; t < terms.count; ++t) {
      const Term& term = terms.of[t];
      const EntrySlopes own(term.of, f);
      if (encoder) {
        if (own.through != Through::threshold)
          add_rows(
              term, f, input, width, column,
              [&](std::uint64_t j) { return own.of_pre(term.slopes[j]); }, sums);
        continue;
      }
      if (term.moves_decoder)
        add_rows(
            term, f, term.error, width, column,
            [&](std::uint64_t j) { return own.factor * term.values[j]; }, sums);
      if (!own.weighs_decoder()) continue;
      const float along = sum_in_order(term, f, lane, 0.0F,
                                       [&](std::uint64_t j) { return own.along(term.values[j]); });
      for (unsigned c = 0; c < kColumns; ++c)
        if (column + c * kWarp < width) sums[c] += along * W_dec[f * width + column + c * kWarp];
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
                    from.error.data(),          slope_pointers(from),
                    from.moves_decoder};
    // As many warps as the list may fill, which the host does not know.
    launch("slopes", slopes, grid_over(from.entries.rows.size()), stream, term, source.W_dec.data(),
           at.d_out, features);
    terms.of[terms.count++] = term;
  }
  launch("sum_entries", sum_entries, grid_over(features.count * at.pieces() * kWarp), stream, terms,
         source.input.data(), source.W_dec.data(), at, features, gradients.data());
}

}  // namespace refract::cuda
