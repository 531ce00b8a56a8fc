#include "refract/comm/exchange.hpp"

#include <mpi.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "comm/mpi_check.hpp"
#include "comm/mpi_wait.hpp"
#include "comm/nccl_exchange.hpp"
#include "refract/base/build_info.hpp"
#include "refract/base/error.hpp"

namespace refract {
namespace {

class LoopbackExchange final : public Exchange {
 public:
  void all_reduce_sum(std::span<float>, Stream&) override {}
  void reduce_scatter_sum(std::span<const float> values, std::span<const std::size_t>,
                          std::span<float> mine, Stream&) override {
    std::copy(values.begin(), values.end(), mine.begin());
  }
  void all_gather(std::span<float>, std::span<const std::size_t>, Stream&) override {}
};

std::vector<int> to_ints(std::span<const std::size_t> counts) {
  return {counts.begin(), counts.end()};
}

class MpiExchange final : public Exchange {
 public:
  explicit MpiExchange(MPI_Comm comm) : comm_(comm) {}

  void all_reduce_sum(std::span<float> values, Stream&) override {
    constexpr std::size_t kPiece = kMpiPiece_bytes / sizeof(float);
    for (std::size_t at = 0; at < values.size(); at += kPiece) {
      MPI_Request request;
      check(MPI_Iallreduce(MPI_IN_PLACE, values.data() + at,
                           static_cast<int>(std::min(kPiece, values.size() - at)), MPI_FLOAT,
                           MPI_SUM, comm_, &request),
            "MPI_Iallreduce");
      wait(request, "MPI_Iallreduce");
    }
  }

  void reduce_scatter_sum(std::span<const float> values, std::span<const std::size_t> counts,
                          std::span<float> mine, Stream&) override {
    const std::vector<int> parts = to_ints(counts);
    MPI_Request request;
    check(MPI_Ireduce_scatter(values.data(), mine.data(), parts.data(), MPI_FLOAT, MPI_SUM, comm_,
                              &request),
          "MPI_Ireduce_scatter");
    wait(request, "MPI_Ireduce_scatter");
  }

  void all_gather(std::span<float> all, std::span<const std::size_t> counts, Stream&) override {
    const std::vector<int> parts = to_ints(counts);
    std::vector<int> starts(parts.size(), 0);
    std::partial_sum(parts.begin(), parts.end() - 1, starts.begin() + 1);
    MPI_Request request;
    check(MPI_Iallgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, all.data(), parts.data(),
                          starts.data(), MPI_FLOAT, comm_, &request),
          "MPI_Iallgatherv");
    wait(request, "MPI_Iallgatherv");
  }

 private:
  MPI_Comm comm_;
};

}  // namespace

std::unique_ptr<Exchange> make_exchange(Communicator& communicator, Device device) {
  if (device.kind == DeviceKind::cuda) {
    if constexpr (has_nccl) return collective_make_nccl_exchange(communicator, device.index);
    throw NotBuilt(
        "this build has no NCCL to sum over GPUs: configure where nvcc, nccl.h and libnccl are "
        "found, or train on the CPU");
  }
  const void* native = communicator.native_mpi();
  if (!native) return std::make_unique<LoopbackExchange>();
  return std::make_unique<MpiExchange>(*static_cast<const MPI_Comm*>(native));
}

}  // namespace refract
