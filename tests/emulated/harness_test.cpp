// The test support is tested: what is wrong in a kernel, or in the host code around it, must show,
// and what is right must give what CUDA gives.
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "emulated/block.hpp"
#include "refract/base/error.hpp"
#include "refract/device/block_cuda.cuh"
#include "refract/device/launch_cuda.cuh"

namespace refract {
namespace {

constexpr unsigned kThreads = 96;
constexpr Device kGpu{DeviceKind::cuda, 0};
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kRacesAreSeen = false;
#else
constexpr bool kRacesAreSeen = true;
#endif

class Emulated : public testing::Test {
 protected:
  Emulated() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
  template <typename T>
  std::vector<T> download(const Buffer<T>& there) {
    std::vector<T> here(there.size());
    copy_bytes(reinterpret_cast<std::byte*>(here.data()), {},
               reinterpret_cast<const std::byte*>(there.data()), there.device(),
               here.size() * sizeof(T), stream);
    return here;
  }
  // The message of the SystemError that a launch ends with; empty where it ends well.
  template <typename... Parameters, typename... Arguments>
  std::string wrong_with(void (*kernel)(Parameters...), cuda::Grid grid, Arguments... arguments) {
    try {
      cuda::launch("the_kernel", kernel, grid, stream, arguments...);
    } catch (const SystemError& error) {
      return error.what();
    }
    return {};
  }
  Stream stream{kGpu};
};
using EmulatedDeathTest = Emulated;  // GoogleTest runs those first

#define EXPECT_SAYS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

// What every thread of a block has written is read by its neighbour.
__device__ void shift_by_one(unsigned* out, unsigned* shared, bool with_barrier) {
  shared[threadIdx.x] = blockIdx.x * 1000 + threadIdx.x;
  if (with_barrier) __syncthreads();
  out[blockIdx.x * blockDim.x + threadIdx.x] = shared[(threadIdx.x + 1) % blockDim.x];
}
__global__ void shift(unsigned* out, bool with_barrier) {
  __shared__ unsigned shared[kThreads];
  shift_by_one(out, shared, with_barrier);
}

TEST_F(Emulated, a_kernel_with_its_barrier_is_right_and_without_it_is_wrong_under_every_seed) {
  const Buffer<unsigned> out(3 * kThreads, kGpu);
  for (const bool with_barrier : {true, false}) {
    const std::string text = wrong_with(shift, {3, kThreads}, out.data(), with_barrier);
    const std::vector<unsigned> found = download(out);
    std::size_t right = 0;
    for (unsigned block = 0; block < 3; ++block)
      for (unsigned t = 0; t < kThreads; ++t)
        right += found[block * kThreads + t] == block * 1000 + (t + 1) % kThreads ? 1 : 0;
    EXPECT_EQ(right == found.size(), with_barrier);
    if (kRacesAreSeen && !with_barrier)
      EXPECT_SAYS(text, "shared memory, which thread");
    else
      EXPECT_EQ(text, "");
  }
}

__global__ void count_without_atomic(unsigned* count, unsigned* elsewhere) {
  if (blockIdx.x == 0 && threadIdx.x < 2) *count += 1;
  if (threadIdx.x == 5 && blockIdx.x != 3) *elsewhere = 1;
}
__global__ void barrier_of_the_next_round_is_missing(unsigned* out) {
  __shared__ unsigned value;
  for (unsigned round = 0; round < 3; ++round) {
    if (threadIdx.x == 0) value = round;
    __syncthreads();
    out[threadIdx.x] = value;  // while thread 0 may write already
  }
}
__global__ void lanes_in_lockstep(unsigned* out, bool synchronised) {
  __shared__ unsigned values[32];
  values[threadIdx.x] = threadIdx.x;
  if (synchronised) __syncwarp();
  out[threadIdx.x] = values[threadIdx.x ^ 1U];
}
// The block that comes last reads what the others wrote: right with the fence.
__global__ void last_block_sums(unsigned* parts, unsigned* arrived, unsigned* sum) {
  parts[blockIdx.x] = blockIdx.x + 1;
  __threadfence();
  if (atomicAdd(arrived, 1U) == gridDim.x - 1)
    for (unsigned block = 0; block < gridDim.x; ++block) *sum += parts[block];
}
__global__ void own_halves(unsigned short* out) { out[threadIdx.x] = 1; }
__global__ void atomic_beside_plain(unsigned* value) {
  if (threadIdx.x == 0)
    *value = 1;
  else
    atomicAdd(value, 1U);
}

// No schedule makes these wrong here: a fiber gives way at barriers and atomics only.
TEST_F(Emulated, accesses_that_nothing_orders_are_reported) {
  if (!kRacesAreSeen) return;
  const Buffer<unsigned> out(kThreads, kGpu), counts(2, kGpu);
  unsigned* const count = counts.data();
  EXPECT_SAYS(wrong_with(count_without_atomic, {1, 32}, count, count + 1),
              "byte 0 of an allocation of 8 bytes, which thread");
  EXPECT_SAYS(wrong_with(count_without_atomic, {3, 32}, out.data(), count + 1), "of block");
  EXPECT_SAYS(wrong_with(barrier_of_the_next_round_is_missing, {1, 64}, out.data()),
              "orders them, after __syncthreads, harness_test.cpp:");
  EXPECT_SAYS(wrong_with(lanes_in_lockstep, {1, 32}, out.data(), false), "shared memory");
  EXPECT_EQ(wrong_with(lanes_in_lockstep, {1, 32}, out.data(), true), "");
  EXPECT_SAYS(wrong_with(atomic_beside_plain, {1, 2}, count), "atomically");
}

TEST_F(Emulated, accesses_that_are_ordered_are_not_reported) {
  const Buffer<unsigned> parts(5, kGpu), counts(2, kGpu);
  const Buffer<unsigned short> halves(kThreads, kGpu);
  EXPECT_EQ(wrong_with(own_halves, {1, kThreads}, halves.data()), "");
  EXPECT_EQ(wrong_with(last_block_sums, {5, 1}, parts.data(), counts.data(), counts.data() + 1),
            "");
  EXPECT_EQ(download(counts)[1], 15U);
}

__global__ void first_to_arrive(unsigned* order, unsigned* arrived) {
  order[atomicAdd(arrived, 1U)] = blockIdx.x * blockDim.x + threadIdx.x;
}

TEST_F(Emulated, the_schedule_is_that_of_the_seed) {
  const std::uint64_t before = emulated::seed();
  const auto schedule = [&](std::uint64_t seed) {
    const Buffer<unsigned> order(4 * kThreads, kGpu), arrived(1, kGpu);
    emulated::set_seed(seed);
    cuda::launch("first_to_arrive", first_to_arrive, {4, kThreads}, stream, order.data(),
                 arrived.data());
    emulated::set_seed(before);
    return download(order);
  };
  EXPECT_EQ(schedule(5), schedule(5));
  EXPECT_NE(schedule(5), schedule(6));
}

__global__ void uninitialised(float* out) {
  __shared__ float value;
  if (threadIdx.x == 0 && blockIdx.x == 7) value = 1;
  out[blockIdx.x] = value;
}

TEST_F(Emulated, shared_memory_is_nan_until_written_in_every_block) {
  const Buffer<float> out(9, kGpu);
  cuda::launch("uninitialised", uninitialised, {9, 1}, stream, out.data());
  const std::vector<float> found = download(out);
  for (std::size_t block = 0; block < 9; ++block)
    EXPECT_EQ(found[block] != found[block], block != 7) << block;
}

__global__ void barrier_of_some() {
  if (threadIdx.x < 40) __syncthreads();
}
__global__ void barrier_behind_a_return(unsigned last) {
  if (threadIdx.x == last) return;
  __syncthreads();
}
__global__ void two_barriers() {
  if (threadIdx.x % 2 == 0)
    __syncthreads();
  else
    __syncthreads();
}

TEST_F(Emulated, a_barrier_that_some_threads_never_reach_is_reported_with_kernel_block_and_thread) {
  std::string text = wrong_with(barrier_of_some, {1, kThreads});
  EXPECT_SAYS(text, "CUDA device 0: the_kernel: thread 0 of block 0 waits at __syncthreads");
  EXPECT_SAYS(text, "harness_test.cpp:");
  EXPECT_SAYS(text, "thread 40 never comes: it has returned");
  EXPECT_SAYS(text, "REFRACT_TEST_SEED=");

  text = wrong_with(barrier_behind_a_return, {1, kThreads}, 95U);
  EXPECT_SAYS(text, "thread 95 never comes: it has returned");
  EXPECT_EQ(wrong_with(barrier_behind_a_return, {1, kThreads}, 96U), "");
}

TEST_F(Emulated, threads_of_a_block_at_different_barriers_are_reported) {
  EXPECT_SAYS(wrong_with(two_barriers, {1, kThreads}), "must reach the same barriers");
}

__global__ void vote_of_an_odd_mask() { __ballot_sync(0xFFFFU, 1); }
__global__ void shuffle_without_lane_3(unsigned* out) {
  if (threadIdx.x != 3) out[threadIdx.x] = __shfl_sync(0xFFFFFFFFU, threadIdx.x, 0);
}
__global__ void one_syncs_one_votes() {
  if (threadIdx.x % 32 == 9)
    __syncwarp();
  else
    __any_sync(0xFFFFFFFFU, 1);
}
__global__ void whole_warp() { __syncwarp(); }

TEST_F(Emulated, a_lane_of_the_mask_that_never_comes_is_reported) {
  const Buffer<unsigned> out(32, kGpu);
  std::string text = wrong_with(shuffle_without_lane_3, {1, 32}, out.data());
  EXPECT_SAYS(text, "waits at a shuffle of mask 0xffffffff");
  EXPECT_SAYS(text, "thread 3 never comes: it has returned");
  EXPECT_SAYS(wrong_with(one_syncs_one_votes, {1, kThreads}), "never comes: it waits at");
  EXPECT_SAYS(wrong_with(vote_of_an_odd_mask, {1, 32}), "the mask lacks its own lane");
  EXPECT_SAYS(wrong_with(whole_warp, {1, 40}), "the block has no thread 40");
  EXPECT_EQ(wrong_with(whole_warp, {1, 64}), "");
}

TEST_F(Emulated, a_kernel_runs_as_it_should_after_one_that_was_given_up) {
  ASSERT_NE(wrong_with(barrier_of_some, {1, kThreads}), "");
  const Buffer<unsigned> out(kThreads, kGpu);
  cuda::launch("shift", shift, {1, kThreads}, stream, out.data(), true);
  EXPECT_EQ(download(out)[kThreads - 1], 0U);
}

__global__ void shuffles(int* out) {
  const int lane = static_cast<int>(threadIdx.x % 32), value = 100 + static_cast<int>(threadIdx.x);
  const std::array<int, 8> found{
      __shfl_sync(0xFFFFFFFFU, value, 5),       __shfl_sync(0xFFFFFFFFU, value, lane + 33),
      __shfl_sync(0xFFFFFFFFU, value, 2, 8),    __shfl_up_sync(0xFFFFFFFFU, value, 3),
      __shfl_up_sync(0xFFFFFFFFU, value, 1, 4), __shfl_down_sync(0xFFFFFFFFU, value, 3),
      __shfl_xor_sync(0xFFFFFFFFU, value, 16),  __shfl_xor_sync(0xFFFFFFFFU, value, 9, 8),
  };
  for (int i = 0; i < 8; ++i) out[threadIdx.x * 8 + static_cast<unsigned>(i)] = found[i];
}

// By hand from the CUDA C++ Programming Guide, "Warp Shuffle Functions".
TEST_F(Emulated, shuffles_give_what_cuda_gives) {
  const Buffer<int> out(64 * 8, kGpu);
  cuda::launch("shuffles", shuffles, {1, 64}, stream, out.data());
  const std::vector<int> found = download(out);
  for (int t = 0; t < 64; ++t) {
    const int lane = t % 32, warp = 100 + t / 32 * 32, segment = lane / 8 * 8;
    const std::array<int, 8> expected{
        warp + 5,
        warp + (lane + 1) % 32,
        warp + segment + 2,
        warp + (lane >= 3 ? lane - 3 : lane),
        warp + (lane % 4 == 0 ? lane : lane - 1),
        warp + (lane + 3 < 32 ? lane + 3 : lane),
        warp + (lane ^ 16),
        // 8 flips the segment: a higher one gives the lane's own value, a lower one is read.
        warp + ((lane ^ 9) >= segment + 8 ? lane : (lane ^ 9)),
    };
    for (int i = 0; i < 8; ++i)
      EXPECT_EQ(found[static_cast<std::size_t>(t * 8 + i)], expected[static_cast<std::size_t>(i)])
          << "thread " << t << " shuffle " << i;
  }
}

__global__ void votes(unsigned* out) {
  const unsigned lane = threadIdx.x % 32;
  const unsigned mask = lane < 20 ? 0xFFFFFU : 0xFFF00000U;  // two groups, each by itself
  out[threadIdx.x * 4] = __ballot_sync(mask, lane % 3 == 0);
  out[threadIdx.x * 4 + 1] = static_cast<unsigned>(__any_sync(mask, lane == 25));
  out[threadIdx.x * 4 + 2] = static_cast<unsigned>(__all_sync(mask, lane >= 20));
  __syncwarp();
  out[threadIdx.x * 4 + 3] = __ballot_sync(0xFFFFFFFFU, 2);
}

TEST_F(Emulated, votes_give_what_cuda_gives) {
  const Buffer<unsigned> out(kThreads * 4, kGpu);
  cuda::launch("votes", votes, {1, kThreads}, stream, out.data());
  const std::vector<unsigned> found = download(out);
  for (unsigned t = 0; t < kThreads; ++t) {
    const bool low = t % 32 < 20;
    EXPECT_EQ(found[t * 4], 0x49249249U & (low ? 0xFFFFFU : 0xFFF00000U));
    EXPECT_EQ(found[t * 4 + 1], low ? 0U : 1U);
    EXPECT_EQ(found[t * 4 + 2], low ? 0U : 1U);
    EXPECT_EQ(found[t * 4 + 3], 0xFFFFFFFFU);
  }
}

struct Totals {
  unsigned u32, largest, least;
  unsigned long long u64;
  float f32;
  double f64;
};
__global__ void atomics(Totals* totals) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  __shared__ unsigned in_block;
  if (threadIdx.x == 0) in_block = 0;
  __syncthreads();
  atomicAdd(&in_block, i);
  __syncthreads();
  if (threadIdx.x == 0) atomicAdd(&totals->u32, in_block);
  atomicMax(&totals->largest, i);
  atomicMin(&totals->least, i);
  atomicAdd(&totals->u64, 1ULL << 40);
  atomicAdd(&totals->f32, 0.5F);
  atomicAdd(&totals->f64, 0.25);
}

TEST_F(Emulated, atomics_lose_nothing) {
  const Buffer<Totals> totals(1, kGpu);
  cuda::launch("atomics", atomics, {4, kThreads}, stream, totals.data());
  const Totals found = download(totals)[0];
  constexpr unsigned n = 4 * kThreads;
  EXPECT_EQ(found.u32, n * (n - 1) / 2);
  EXPECT_EQ(found.largest, n - 1);
  EXPECT_EQ(found.least, 0U);
  EXPECT_EQ(found.u64, std::uint64_t{n} << 40);
  EXPECT_EQ(found.f32, 0.5F * n);
  EXPECT_EQ(found.f64, 0.25 * n);
}

__global__ void bits(int* out) {
  out[0] = __popc(0xF0F0U), out[1] = __clz(1), out[2] = __clz(0), out[3] = __ffs(8),
  out[4] = __ffs(0), out[5] = static_cast<int>(__float_as_uint(1.0F) >> 23),
  out[6] = static_cast<int>(__uint_as_float(0x40400000U)), out[7] = min(3, -2),
  out[8] = static_cast<int>(max(3U, 7U)), out[9] = static_cast<int>(rsqrtf(0.0625F));
}

TEST_F(Emulated, bits_are_counted_as_cuda_counts_them) {
  const Buffer<int> out(10, kGpu);
  cuda::launch("bits", bits, {1, 1}, stream, out.data());
  EXPECT_EQ(download(out), (std::vector<int>{8, 31, 32, 4, 0, 127, 3, -2, 7, 4}));
}

template <unsigned kSize>
struct CollectivesMemory {
  cuda::BlockMemory<unsigned, kSize> of_unsigned;
  cuda::BlockMemory<double, kSize> of_double;
};
template <unsigned kSize>
__device__ void collectives(unsigned* out, CollectivesMemory<kSize>& shared) {
  auto& [memory, of_double] = shared;
  const unsigned own = threadIdx.x * threadIdx.x % 17;
  unsigned total = 0;
  const unsigned before = cuda::exclusive_sum(own, total, memory);
  unsigned largest = cuda::block_max(own, memory);
  const unsigned sum = cuda::block_sum(own, memory);
  largest = min(largest, cuda::block_max(own, memory));  // each reuses what the one before left
  total = max(total, cuda::block_sum(own, memory));
  const double half = cuda::block_sum(0.5 * own, of_double);
  unsigned* at = out + threadIdx.x * 5;
  at[0] = before, at[1] = total, at[2] = sum, at[3] = largest, at[4] = static_cast<unsigned>(half);
}

__global__ void collectives_32(unsigned* out) {
  __shared__ CollectivesMemory<32> shared;
  collectives(out, shared);
}
__global__ void collectives_96(unsigned* out) {
  __shared__ CollectivesMemory<96> shared;
  collectives(out, shared);
}
__global__ void collectives_1024(unsigned* out) {
  __shared__ CollectivesMemory<1024> shared;
  collectives(out, shared);
}

template <unsigned kSize>
void expect_right_collectives(void (*kernel)(unsigned*), Stream& stream, const auto& download) {
  const Buffer<unsigned> out(kSize * 5, kGpu);
  cuda::launch("collectives", kernel, {1, kSize}, stream, out.data());
  const std::vector<unsigned> found = download(out);
  unsigned total = 0;
  for (unsigned t = 0; t < kSize; ++t) total += t * t % 17;
  unsigned before = 0;
  for (unsigned t = 0; t < kSize; ++t) {
    EXPECT_EQ(found[t * 5], before);
    EXPECT_EQ(found[t * 5 + 1], total);
    EXPECT_EQ(found[t * 5 + 2], total);
    EXPECT_EQ(found[t * 5 + 3], 16U);
    EXPECT_EQ(found[t * 5 + 4], total / 2);
    before += t * t % 17;
  }
}

TEST_F(Emulated, sums_over_a_block_are_those_of_a_loop) {
  const auto fetch = [&](const Buffer<unsigned>& out) { return download(out); };
  expect_right_collectives<32>(collectives_32, stream, fetch);
  expect_right_collectives<96>(collectives_96, stream, fetch);
  expect_right_collectives<1024>(collectives_1024, stream, fetch);
}

template <typename T>
__global__ void shared_in_a_template(T* out) {
  __shared__ T value;
  if (threadIdx.x == 0) value = 1;
  __syncthreads();
  out[threadIdx.x] = value;
}

// gcc gives it no section of its own, so it would be neither filled with garbage nor watched.
TEST_F(Emulated, shared_memory_of_a_kernel_that_is_a_template_is_refused) {
  if (!kRacesAreSeen) return;
  const Buffer<float> out(32, kGpu);
  EXPECT_SAYS(wrong_with(shared_in_a_template<float>, {1, 32}, out.data()),
              "neither on a device nor __shared__");
}

__global__ void many_barriers(unsigned* out) {
  for (int i = 0; i < 100; ++i) __syncthreads();
  out[threadIdx.x] = threadIdx.x;
}
__global__ void write_at(unsigned char* data, std::size_t i) { data[i] = 7; }
__global__ void read_at(const unsigned* data, std::size_t i, unsigned* out) { *out = data[i]; }

TEST_F(Emulated, a_pointer_to_the_host_or_to_another_device_is_refused_at_the_launch) {
  unsigned here = 0;
  EXPECT_SAYS(wrong_with(many_barriers, {1, 1}, &here), "argument 1 points to host memory");
  const Buffer<unsigned> there(1, {DeviceKind::cuda, 1});
  EXPECT_SAYS(wrong_with(many_barriers, {1, 1}, there.data()),
              "argument 1 points to memory of device 1, the kernel runs on device 0");
}

TEST_F(Emulated, a_launch_that_cuda_refuses_is_refused) {
  EXPECT_SAYS(wrong_with(barrier_of_some, {1, 1025}), "the_kernel: invalid configuration argument");
  EXPECT_SAYS(wrong_with(barrier_of_some, {std::size_t{1} << 31, 32}), "invalid configuration");
}

TEST_F(EmulatedDeathTest, a_host_read_of_device_memory_ends_the_process) {
  const Buffer<unsigned> data(64, kGpu);
  const volatile unsigned* at = data.data();
  EXPECT_DEATH(static_cast<void>(*at), "the host touched byte 0 of an allocation");
  cuda::launch("many_barriers", many_barriers, {1, 64}, stream, data.data());
  EXPECT_DEATH(static_cast<void>(at[63]), "the host touched byte 252 of");
}

TEST_F(EmulatedDeathTest, a_kernel_that_reads_out_of_bounds_ends_the_process) {
  const Buffer<unsigned> data(64, kGpu), out(1, kGpu);
  EXPECT_EQ(wrong_with(read_at, {1, 1}, data.data(), std::size_t{63}, out.data()), "");
  // The allocation ends where its last page ends: the next byte is on a page of its own.
  EXPECT_DEATH(wrong_with(read_at, {1, 1}, data.data(), std::size_t{64}, out.data()),
               "thread 0 of block 0 touched byte 256 of an allocation of 256 bytes");
}

TEST_F(EmulatedDeathTest, a_kernel_that_uses_freed_memory_ends_the_process) {
  const Buffer<unsigned> out(1, kGpu);
  const unsigned* freed = Buffer<unsigned>(64, kGpu).data();
  EXPECT_DEATH(wrong_with(read_at, {1, 1}, freed, std::size_t{0}, out.data()),
               "thread 0 of block 0 touched");
}

TEST_F(EmulatedDeathTest, a_kernel_that_uses_another_devices_memory_ends_the_process) {
  const Device other{DeviceKind::cuda, 1};
  const Buffer<const unsigned*> pointer(1, kGpu);
  const Buffer<unsigned> data(64, other), out(1, kGpu);
  const std::ptrdiff_t far = data.data() - out.data();
  EXPECT_DEATH(wrong_with(read_at, {1, 1}, static_cast<const unsigned*>(out.data()),
                          static_cast<std::size_t>(far), out.data()),
               "thread 0 of block 0 touched byte 0 of .* of device 1");
}

// 63 bytes at most lie between the end of an allocation and its guard page.
TEST_F(EmulatedDeathTest, a_write_just_past_an_odd_end_is_seen) {
  const Buffer<unsigned char> data(61, kGpu);
#if defined(__SANITIZE_ADDRESS__)
  EXPECT_DEATH(wrong_with(write_at, {1, 1}, data.data(), std::size_t{61}), "AddressSanitizer");
#else
  EXPECT_SAYS(wrong_with(write_at, {1, 1}, data.data(), std::size_t{61}),
              "byte 61 of an allocation of 61 bytes was written");
  EXPECT_EQ(wrong_with(write_at, {1, 1}, data.data(), std::size_t{60}), "");
#endif
}

#if defined(__SANITIZE_ADDRESS__)
__global__ void past_what_is_shared(unsigned* out, unsigned i) {
  __shared__ unsigned values[kThreads];
  __shared__ unsigned more[kThreads];
  unsigned* const at = threadIdx.x == 0 ? values : more;
  *out = at[i];
}
TEST_F(EmulatedDeathTest, an_index_out_of_shared_memory_ends_the_process) {
  const Buffer<unsigned> out(1, kGpu);
  EXPECT_DEATH(wrong_with(past_what_is_shared, {1, 1}, out.data(), kThreads), "overflow");
}
#endif

__global__ void recurse(unsigned* out, unsigned depth) {
  volatile unsigned char room[1024];
  room[depth % 1024] = 1;
  if (depth != 0) recurse(out, depth - 1);
  out[0] = room[depth % 1024];
}
TEST_F(EmulatedDeathTest, a_thread_that_runs_out_of_stack_ends_the_process) {
  const Buffer<unsigned> out(1, kGpu);
  EXPECT_EQ(wrong_with(recurse, {1, 1}, out.data(), 2U), "");
  EXPECT_DEATH(wrong_with(recurse, {1, 1}, out.data(), 100'000U), "");
}

}  // namespace
}  // namespace refract
