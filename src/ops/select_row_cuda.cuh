#pragma once
// The choice among the values of one row, by a block of kSelectThreads; for .cu files only.
//
// Row gives `size`, and for an item i in [0, size): key(i), an unsigned number, 0 where the item is
// never chosen; feature(i), ascending with i; value(i). Counts are integers and ties go to the
// lower item, so nothing depends on the schedule.
#include <cstdint>

#include "refract/device/block_cuda.cuh"
#include "refract/device/launch_cuda.cuh"

namespace refract::cuda {

constexpr unsigned kSelectThreads = 256;
constexpr unsigned kBins = 2048;  // of a histogram: 11 bits of the key

struct SelectMemory {
  unsigned bins[kBins];
  // What is known of the k-th largest key: its leading bits, and how many of the keys with these
  // bits are among the k. candidates: keys that the last pass saw.
  unsigned prefix, wanted, candidates;
  BlockMemory<unsigned, kSelectThreads> counts;
  BlockMemory<std::uint64_t, kSelectThreads> places;
  std::uint64_t start;
};

// Keys are chosen that are above `least`, and the first `ties` of those equal to it.
struct Edge {
  unsigned least, ties;
};

// One pass: the next 11 bits of the k-th largest key, from `shift` on. `mask`: the bits known.
template <typename Row>
__device__ void narrow(const Row& row, unsigned mask, int shift, SelectMemory& shared) {
  constexpr unsigned kOwn = kBins / kSelectThreads;
  for (unsigned b = threadIdx.x; b < kBins; b += kSelectThreads) shared.bins[b] = 0;
  __syncthreads();
  const unsigned prefix = shared.prefix, wanted = shared.wanted;
  for (unsigned i = threadIdx.x; i < row.size; i += kSelectThreads) {
    const unsigned key = row.key(i);
    if (key != 0 && (key & mask) == prefix) atomicAdd(&shared.bins[key >> shift & (kBins - 1)], 1U);
  }
  __syncthreads();
  // Thread t owns bins in descending order, so that the exclusive sum counts the larger keys.
  const unsigned highest = kBins - 1 - threadIdx.x * kOwn;
  unsigned own = 0, total = 0;
  for (unsigned b = 0; b < kOwn; ++b) own += shared.bins[highest - b];
  unsigned above = exclusive_sum(own, total, shared.counts);
  if (threadIdx.x == 0) shared.candidates = total;
  for (unsigned b = 0; b < kOwn; ++b) {  // at most one thread and bin holds the wanted-th key
    const unsigned here = shared.bins[highest - b];
    if (above < wanted && wanted <= above + here) {
      shared.prefix = prefix | (highest - b) << shift;
      shared.wanted = wanted - above;
    }
    above += here;
  }
  __syncthreads();
}

// Where the k largest keys end.
template <typename Row>
__device__ Edge edge_of_largest(const Row& row, unsigned k, SelectMemory& shared) {
  if (threadIdx.x == 0) shared.prefix = 0, shared.wanted = k;
  __syncthreads();
  narrow(row, 0U, 21, shared);
  if (shared.candidates <= k) return {0, 0};  // all of them
  narrow(row, 0x7FFU << 21, 10, shared);
  narrow(row, 0x3FFFFFU << 10, 0, shared);  // sees one known bit again, which changes nothing
  return {shared.prefix, shared.wanted};
}

// Where a row's entries go: features, values from a place on. With `used`, the place is what other
// rows have left of it.
struct RowPlace {
  std::uint64_t* used;
  std::uint64_t* start;  // written where `used` is given, else read
  std::uint32_t* count;
  std::uint32_t* features;
  float* values;
};

// Writes what is chosen, ascending. A warp owns a range of items, counts it, and writes it behind
// those before it, so that a row costs few barriers.
template <typename Row>
__device__ void write_chosen(const Row& row, Edge edge, const RowPlace& to, SelectMemory& shared) {
  const unsigned lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, lower = (1U << lane) - 1;
  const unsigned range = (row.size + kSelectThreads - 1) / kSelectThreads * kWarp,
                 begin = min(row.size, warp * range), end = min(row.size, begin + range);
  unsigned above = 0, equal = 0;
  for (unsigned first = begin; first < end; first += kWarp) {
    const unsigned key = first + lane < end ? row.key(first + lane) : 0;
    above += __popc(__ballot_sync(kWholeWarp, key > edge.least));
    equal += __popc(__ballot_sync(kWholeWarp, key != 0 && key == edge.least));
  }
  std::uint64_t own = 0, total = 0;  // both counts in one sum
  if (lane == 0) own = std::uint64_t{above} << 32 | equal;
  const std::uint64_t before = __shfl_sync(kWholeWarp, exclusive_sum(own, total, shared.places), 0);
  const unsigned chosen =
      static_cast<unsigned>(total >> 32) + min(static_cast<unsigned>(total), edge.ties);
  if (threadIdx.x == 0) {
    if (to.used)
      *to.start = atomicAdd(reinterpret_cast<unsigned long long*>(to.used),
                            static_cast<unsigned long long>(chosen));
    *to.count = chosen;
    shared.start = *to.start;
  }
  __syncthreads();
  const std::uint64_t start = shared.start;
  above = static_cast<unsigned>(before >> 32), equal = static_cast<unsigned>(before);
  for (unsigned first = begin; first < end; first += kWarp) {
    const unsigned key = first + lane < end ? row.key(first + lane) : 0;
    const bool larger = key > edge.least, same = key != 0 && key == edge.least;
    const unsigned all_larger = __ballot_sync(kWholeWarp, larger),
                   all_same = __ballot_sync(kWholeWarp, same),
                   same_before = equal + __popc(all_same & lower);
    if (larger || (same && same_before < edge.ties)) {
      const std::uint64_t at =
          start + above + __popc(all_larger & lower) + min(same_before, edge.ties);
      to.features[at] = row.feature(first + lane);
      to.values[at] = row.value(first + lane);
    }
    above += __popc(all_larger);
    equal += __popc(all_same);
  }
}

}  // namespace refract::cuda
