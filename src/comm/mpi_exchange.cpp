#include "comm/mpi_exchange.hpp"

#include <mpi.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "comm/mpi_check.hpp"
#include "comm/mpi_wait.hpp"
#include "refract/base/error.hpp"

namespace refract {
namespace {

std::vector<int> to_ints(std::span<const std::size_t> counts) {
  return {counts.begin(), counts.end()};
}

std::size_t bytes_of(int count) { return static_cast<std::size_t>(count) * sizeof(float); }

class MpiExchange final : public Exchange {
 public:
  MpiExchange(MPI_Comm comm, std::size_t piece_bytes)
      : comm_(comm), piece_(std::max<std::size_t>(1, piece_bytes / sizeof(float))) {
    REFRACT_ASSERT(piece_bytes <= kMpiPiece_bytes, "piece_bytes {}", piece_bytes);
    check(MPI_Comm_rank(comm_, &rank_), "MPI_Comm_rank");
  }

  void all_reduce_sum(std::span<float> values, Stream&) override {
    for_each_piece(0, values.size(), piece_, [&](std::size_t at, int count) {
      MPI_Request request;
      check(MPI_Iallreduce(MPI_IN_PLACE, values.data() + at, count, MPI_FLOAT, MPI_SUM, comm_,
                           &request),
            "MPI_Iallreduce");
      wait(request, "MPI_Iallreduce", bytes_of(count));
    });
  }

  void reduce_scatter_sum(std::span<const float> values, std::span<const std::size_t> counts,
                          std::span<float> mine, Stream&) override {
    if (values.size() > piece_) {
      for_each_part(counts, [&](std::size_t at, int count, int owner, std::size_t start) {
        MPI_Request request;
        check(MPI_Ireduce(values.data() + at, owner == rank_ ? mine.data() + (at - start) : nullptr,
                          count, MPI_FLOAT, MPI_SUM, owner, comm_, &request),
              "MPI_Ireduce");
        wait(request, "MPI_Ireduce", bytes_of(count));
      });
      return;
    }
    const std::vector<int> parts = to_ints(counts);
    MPI_Request request;
    check(MPI_Ireduce_scatter(values.data(), mine.data(), parts.data(), MPI_FLOAT, MPI_SUM, comm_,
                              &request),
          "MPI_Ireduce_scatter");
    wait(request, "MPI_Ireduce_scatter", values.size_bytes());
  }

  void all_gather(std::span<float> all, std::span<const std::size_t> counts, Stream&) override {
    if (all.size() > piece_) {
      for_each_part(counts, [&](std::size_t at, int count, int owner, std::size_t) {
        MPI_Request request;
        check(MPI_Ibcast(all.data() + at, count, MPI_FLOAT, owner, comm_, &request), "MPI_Ibcast");
        wait(request, "MPI_Ibcast", bytes_of(count));
      });
      return;
    }
    const std::vector<int> parts = to_ints(counts);
    std::vector<int> starts(parts.size(), 0);
    std::partial_sum(parts.begin(), parts.end() - 1, starts.begin() + 1);
    MPI_Request request;
    check(MPI_Iallgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, all.data(), parts.data(),
                          starts.data(), MPI_FLOAT, comm_, &request),
          "MPI_Iallgatherv");
    wait(request, "MPI_Iallgatherv", all.size_bytes());
  }

 private:
  // use(place in the whole, count, owner, where the owner's part starts)
  template <typename Use>
  void for_each_part(std::span<const std::size_t> counts, Use&& use) const {
    std::size_t start = 0;
    for (std::size_t owner = 0; owner < counts.size(); ++owner) {
      for_each_piece(start, counts[owner], piece_, [&](std::size_t at, int count) {
        use(at, count, static_cast<int>(owner), start);
      });
      start += counts[owner];
    }
  }

  MPI_Comm comm_;
  std::size_t piece_;  // floats
  int rank_ = 0;
};

}  // namespace

std::unique_ptr<Exchange> make_mpi_exchange(const void* comm, std::size_t piece_bytes) {
  return std::make_unique<MpiExchange>(*static_cast<const MPI_Comm*>(comm), piece_bytes);
}

}  // namespace refract
