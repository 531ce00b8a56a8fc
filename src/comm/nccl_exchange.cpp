#include "comm/nccl_exchange.hpp"

#include <nccl.h>  // brings cuda_runtime.h

#include <algorithm>
#include <array>
#include <chrono>
#include <exception>
#include <functional>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "comm/gpu_of_rank.hpp"
#include "refract/base/error.hpp"
#include "refract/comm/environment.hpp"

namespace refract {
namespace {

std::string one_line(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

GpuOfRank gpu_of_this_rank(int device) {
  GpuOfRank gpu;
  set_text(gpu.host, host_name());
  std::array<char, 32> bus_id{};
  cudaError_t code = cudaSetDevice(device);
  if (code == cudaSuccess)
    code = cudaDeviceGetPCIBusId(bus_id.data(), static_cast<int>(bus_id.size()), device);
  if (code == cudaSuccess)
    gpu.bus_id = bus_id;
  else
    set_text(gpu.failure, fmt::format("CUDA device {}: {}", device, cudaGetErrorString(code)));
  return gpu;
}

// The verdict of rank 0 travels with the id, so that all ranks fail together.
struct IdFromRoot {
  ncclResult_t code = ncclSuccess;
  ncclUniqueId id{};
};

class NcclExchange final : public Exchange {
 public:
  NcclExchange(int rank, int size, int device)
      : rank_(rank), size_(size), device_(device), exceptions_(std::uncaught_exceptions()) {}
  void collective_open(const IdFromRoot& root) {
    check(root.code, "ncclGetUniqueId");
    check(ncclCommInitRank(&comm_, size_, root.id, rank_), "ncclCommInitRank");
  }
  // The exception to the rule that no destructor is collective: destroying may wait for the other
  // ranks. After a failure they may never come, so then it is aborted.
  ~NcclExchange() override {
    if (!comm_) return;
    if (std::uncaught_exceptions() > exceptions_)
      ncclCommAbort(comm_);
    else
      ncclCommDestroy(comm_);
  }
  NcclExchange(const NcclExchange&) = delete;
  NcclExchange& operator=(const NcclExchange&) = delete;

  void all_reduce_sum(std::span<float> values, Stream& stream) override {
    const cudaStream_t queue = enter(stream);
    if (values.empty()) return;
    check(ncclAllReduce(values.data(), values.data(), values.size(), ncclFloat, ncclSum, comm_,
                        queue),
          "ncclAllReduce");
  }

  void reduce_scatter_sum(std::span<const float> values, std::span<const std::size_t> counts,
                          std::span<float> mine, Stream& stream) override {
    expect_counts(counts, values.size());
    REFRACT_ASSERT(mine.size() == counts[rank()], "mine {} counts {}", mine.size(), counts[rank()]);
    const cudaStream_t queue = enter(stream);
    if (values.empty()) return;
    if (all_equal(counts)) {
      check(ncclReduceScatter(values.data(), mine.data(), mine.size(), ncclFloat, ncclSum, comm_,
                              queue),
            "ncclReduceScatter");
      return;
    }
    for_each_part(counts, "grouped ncclReduce",
                  [&](std::size_t start, std::size_t count, int root) {
                    return ncclReduce(values.data() + start, mine.data(), count, ncclFloat, ncclSum,
                                      root, comm_, queue);
                  });
  }

  void all_gather(std::span<float> all, std::span<const std::size_t> counts,
                  Stream& stream) override {
    expect_counts(counts, all.size());
    const cudaStream_t queue = enter(stream);
    if (all.empty()) return;
    if (all_equal(counts)) {  // in place: this rank's part lies where the others will find it
      check(ncclAllGather(all.data() + rank() * counts[0], all.data(), counts[0], ncclFloat, comm_,
                          queue),
            "ncclAllGather");
      return;
    }
    for_each_part(counts, "grouped ncclBroadcast",
                  [&](std::size_t start, std::size_t count, int root) {
                    return ncclBroadcast(all.data() + start, all.data() + start, count, ncclFloat,
                                         root, comm_, queue);
                  });
  }

  // A kernel that waits for a lost peer never ends: look at the stream and at NCCL in turn.
  void synchronize(Stream& stream) override {
    const cudaStream_t queue = enter(stream);
    constexpr int kEagerLooks = 200;
    for (int look = 0;; ++look) {
      const cudaError_t code = cudaStreamQuery(queue);
      expect_no_async_error();
      if (code == cudaSuccess) return;
      if (code != cudaErrorNotReady) fail("the work on its stream", cudaGetErrorString(code));
      if (look >= kEagerLooks) std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
  }

 private:
  [[nodiscard]] std::size_t rank() const { return static_cast<std::size_t>(rank_); }
  static bool all_equal(std::span<const std::size_t> counts) {
    return std::adjacent_find(counts.begin(), counts.end(), std::not_equal_to<>()) == counts.end();
  }

  [[noreturn]] void fail(const char* doing, const std::string& text) {
    throw SystemError(
        "NCCL failed in {} on rank {} of {} (host {}, CUDA device {}): {}. NCCL_DEBUG=WARN prints "
        "NCCL's own account; the run resumes from its last checkpoint.",
        doing, rank_, size_, host_name(), device_, one_line(text));
  }
  void check(ncclResult_t code, const char* doing) {
    if (code == ncclSuccess) return;
    const char* detail = ncclGetLastError(comm_);
    fail(doing, std::string(ncclGetErrorString(code)) +
                    (detail && *detail ? std::string(" (") + detail + ")" : ""));
  }
  void expect_no_async_error() {
    ncclResult_t code = ncclSuccess;
    check(ncclCommGetAsyncError(comm_, &code), "ncclCommGetAsyncError");
    check(code, "work enqueued before");
  }
  void expect_counts(std::span<const std::size_t> counts, std::size_t elements) const {
    const std::size_t sum = std::accumulate(counts.begin(), counts.end(), std::size_t{0});
    REFRACT_ASSERT(counts.size() == static_cast<std::size_t>(size_) && sum == elements,
                   "{} counts on {} ranks, sum {}, {} elements", counts.size(), size_, sum,
                   elements);
  }

  cudaStream_t enter(Stream& stream) {
    if (stream.device() != Device{DeviceKind::cuda, device_})
      throw SystemError("the exchange on CUDA device {} was given a stream of {} device {}",
                        device_, stream.device().kind == DeviceKind::cpu ? "CPU" : "CUDA",
                        stream.device().index);
    const cudaError_t code = cudaSetDevice(device_);
    if (code != cudaSuccess) fail("cudaSetDevice", cudaGetErrorString(code));
    expect_no_async_error();
    return static_cast<cudaStream_t>(stream.native());
  }

  // One NCCL call for each rank's part, as one operation. The group is closed whatever happens
  // inside.
  template <typename Call>
  void for_each_part(std::span<const std::size_t> counts, const char* doing, Call&& call) {
    check(ncclGroupStart(), doing);
    ncclResult_t first = ncclSuccess;
    std::size_t start = 0;
    for (int root = 0; root < size_ && first == ncclSuccess; ++root) {
      const std::size_t count = counts[static_cast<std::size_t>(root)];
      if (count != 0) first = call(start, count, root);
      start += count;
    }
    const ncclResult_t end = ncclGroupEnd();
    check(first, doing);
    check(end, doing);
  }

  int rank_, size_, device_, exceptions_;
  ncclComm_t comm_ = nullptr;
};

}  // namespace

std::unique_ptr<Exchange> collective_make_nccl_exchange(Communicator& communicator, int device) {
  const GpuOfRank mine = gpu_of_this_rank(device);
  const std::string conflict =
      gpu_conflict(communicator.all_gather(std::span<const GpuOfRank>(&mine, 1)));
  if (!conflict.empty()) throw SystemError(conflict);
  IdFromRoot root;
  if (communicator.rank() == 0) root.code = ncclGetUniqueId(&root.id);
  communicator.broadcast(std::span<IdFromRoot>(&root, 1), 0);
  auto exchange = std::make_unique<NcclExchange>(communicator.rank(), communicator.size(), device);
  exchange->collective_open(root);
  return exchange;
}

}  // namespace refract
