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
#include "comm/wire_cuda.hpp"
#include "comm/work_room.hpp"
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

class NcclExchange final : public ExchangeBody {
 public:
  NcclExchange(int rank, int size, int device, Wire wire)
      : rank_(rank),
        size_(size),
        device_(device),
        exceptions_(std::uncaught_exceptions()),
        wire_(wire),
        in_({DeviceKind::cuda, device}),
        out_({DeviceKind::cuda, device}) {}
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

  [[nodiscard]] int rank() const override { return rank_; }
  [[nodiscard]] int size() const override { return size_; }
  [[nodiscard]] Device device() const override { return {DeviceKind::cuda, device_}; }

  void all_reduce_sum(std::byte* values, DType type, std::size_t size, Stream& stream) override {
    const cudaStream_t queue = enter(stream);
    const auto sum = [&](void* data, ncclDataType_t as) {
      check(ncclAllReduce(data, data, size, as, ncclSum, comm_, queue), "ncclAllReduce");
    };
    if (type == DType::f32 && wire_ == Wire::bf16) {
      auto* floats = reinterpret_cast<float*>(values);
      auto* sent = out_.of<BFloat16>(size);
      cuda::to_bf16(floats, sent, size, stream);
      sum(sent, ncclBfloat16);
      cuda::to_float(sent, floats, size, stream);
      return;
    }
    sum(values, type == DType::f32 ? ncclFloat32 : type == DType::f64 ? ncclFloat64 : ncclUint64);
  }

  void reduce_scatter_sum(const float* values, std::span<const std::size_t> counts, float* mine,
                          Stream& stream) override {
    const cudaStream_t queue = enter(stream);
    if (wire_ == Wire::fp32) {
      reduce_scatter(values, counts, mine, ncclFloat32, queue);
      return;
    }
    const std::size_t size = std::accumulate(counts.begin(), counts.end(), std::size_t{0});
    auto* sent = out_.of<BFloat16>(size);
    auto* received = in_.of<BFloat16>(counts[me()]);
    cuda::to_bf16(values, sent, size, stream);
    reduce_scatter(sent, counts, received, ncclBfloat16, queue);
    cuda::to_float(received, mine, counts[me()], stream);
  }

  void all_gather(std::byte* all, std::size_t element_bytes, std::span<const std::size_t> counts,
                  Stream& stream) override {
    const cudaStream_t queue = enter(stream);
    if (all_equal(counts)) {  // in place: this rank's part lies where the others will find it
      const std::size_t bytes = counts[0] * element_bytes;
      check(ncclAllGather(all + me() * bytes, all, bytes, ncclUint8, comm_, queue),
            "ncclAllGather");
      return;
    }
    for_each_part(
        counts, "grouped ncclBroadcast", [&](std::size_t start, std::size_t count, int root) {
          std::byte* part = all + start * element_bytes;
          return ncclBroadcast(part, part, count * element_bytes, ncclUint8, root, comm_, queue);
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
  [[nodiscard]] std::size_t me() const { return static_cast<std::size_t>(rank_); }
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
  template <typename T>
  void reduce_scatter(const T* values, std::span<const std::size_t> counts, T* mine,
                      ncclDataType_t type, cudaStream_t queue) {
    if (all_equal(counts)) {
      check(ncclReduceScatter(values, mine, counts[0], type, ncclSum, comm_, queue),
            "ncclReduceScatter");
      return;
    }
    for_each_part(
        counts, "grouped ncclReduce", [&](std::size_t start, std::size_t count, int root) {
          return ncclReduce(values + start, mine, count, type, ncclSum, root, comm_, queue);
        });
  }

  cudaStream_t enter(Stream& stream) {
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
  Wire wire_;
  WorkRoom in_, out_;  // in stream order: calls follow each other in one stream
  ncclComm_t comm_ = nullptr;
};

}  // namespace

std::unique_ptr<ExchangeBody> collective_make_nccl_exchange(Communicator& communicator, int device,
                                                            Wire wire) {
  const GpuOfRank mine = gpu_of_this_rank(device);
  const std::string conflict =
      gpu_conflict(communicator.all_gather(std::span<const GpuOfRank>(&mine, 1)));
  if (!conflict.empty()) throw SystemError(conflict);
  IdFromRoot root;
  if (communicator.rank() == 0) root.code = ncclGetUniqueId(&root.id);
  communicator.broadcast(std::span<IdFromRoot>(&root, 1), 0);
  auto exchange =
      std::make_unique<NcclExchange>(communicator.rank(), communicator.size(), device, wire);
  exchange->collective_open(root);
  return exchange;
}

}  // namespace refract
