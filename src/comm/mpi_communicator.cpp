// The MPI body. MPI sums whole numbers alone: reals it may add in another order on another machine.
#include <mpi.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "comm/communicator_body.hpp"
#include "comm/mpi_check.hpp"
#include "comm/mpi_communicator.hpp"
#include "comm/mpi_tickets.hpp"
#include "comm/mpi_wait.hpp"

namespace refract {
namespace {

class MpiCommunicator final : public CommunicatorBody {
 public:
  MpiCommunicator(MPI_Comm owned, std::size_t piece_bytes)
      : comm_(owned), tickets_(owned, piece_bytes), piece_bytes_(piece_bytes) {
    REFRACT_ASSERT(piece_bytes >= sizeof(std::uint64_t) && piece_bytes <= kMpiPiece_bytes,
                   "piece_bytes {}", piece_bytes);
    MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN);
    check(MPI_Comm_rank(comm_, &rank_), "MPI_Comm_rank");
    check(MPI_Comm_size(comm_, &size_), "MPI_Comm_size");
  }
  // The one collective destructor of the house: every rank frees the split it made (as Celerity
  // does).
  ~MpiCommunicator() override {
    int finalized = 0;
    MPI_Finalized(&finalized);
    if (!finalized && comm_ != MPI_COMM_NULL) MPI_Comm_free(&comm_);
  }
  [[nodiscard]] int rank() const override { return rank_; }
  [[nodiscard]] int size() const override { return size_; }
  void barrier() override {
    MPI_Request request;
    check(MPI_Ibarrier(comm_, &request), "MPI_Ibarrier");
    wait(request, "MPI_Ibarrier");
  }

  void broadcast(std::span<std::byte> bytes, int root) override {
    for_each_piece(0, bytes.size(), piece_bytes_, [&](std::size_t at, int count) {
      MPI_Request request;
      check(MPI_Ibcast(bytes.data() + at, count, MPI_BYTE, root, comm_, &request), "MPI_Ibcast");
      wait(request, "MPI_Ibcast", static_cast<std::size_t>(count));
    });
  }

  void all_reduce_sum(std::span<std::uint64_t> values) override {
    const std::size_t piece = piece_bytes_ / sizeof(std::uint64_t);
    for_each_piece(0, values.size(), piece, [&](std::size_t at, int count) {
      MPI_Request request;
      check(MPI_Iallreduce(MPI_IN_PLACE, values.data() + at, count, MPI_UINT64_T, MPI_SUM, comm_,
                           &request),
            "MPI_Iallreduce");
      wait(request, "MPI_Iallreduce", static_cast<std::size_t>(count) * sizeof(std::uint64_t));
    });
  }

  [[nodiscard]] std::uint64_t all_reduce_max(std::uint64_t value) override {
    MPI_Request request;
    check(MPI_Iallreduce(MPI_IN_PLACE, &value, 1, MPI_UINT64_T, MPI_MAX, comm_, &request),
          "MPI_Iallreduce");
    wait(request, "MPI_Iallreduce");
    return value;
  }

  void all_gather(std::span<const std::byte> mine, const GatherRoom& room) override {
    const std::vector<std::uint64_t> sizes = sizes_of_all(mine);
    const std::uint64_t bytes = std::accumulate(sizes.begin(), sizes.end(), std::uint64_t{0});
    std::byte* all = room(bytes);
    if (bytes <= piece_bytes_) {
      const auto [counts, starts] = as_ints(sizes);
      MPI_Request request;
      check(MPI_Iallgatherv(mine.data(), static_cast<int>(mine.size()), MPI_BYTE, all,
                            counts.data(), starts.data(), MPI_BYTE, comm_, &request),
            "MPI_Iallgatherv");
      wait(request, "MPI_Iallgatherv", bytes);
      return;
    }
    for (std::size_t r = 0; r < sizes.size(); ++r) {
      const std::span<std::byte> part(all, sizes[r]);
      if (r == static_cast<std::size_t>(rank_)) std::ranges::copy(mine, part.begin());
      broadcast(part, static_cast<int>(r));
      all += part.size();
    }
  }

  // Beyond one piece the ranks' parts follow each other, each a gather to which one rank gives.
  void gather(std::span<const std::byte> mine, int root, const GatherRoom& room) override {
    const std::vector<std::uint64_t> sizes = sizes_of_all(mine);
    const std::uint64_t bytes = std::accumulate(sizes.begin(), sizes.end(), std::uint64_t{0});
    std::byte* all = room(rank_ == root ? bytes : 0);
    if (bytes <= piece_bytes_) {
      const auto [counts, starts] = as_ints(sizes);
      collective_gather(mine, all, counts, starts, root);
      return;
    }
    const std::vector<int> starts(sizes.size(), 0);
    std::size_t start = 0;
    for (std::size_t r = 0; r < sizes.size(); ++r) {
      for_each_piece(0, sizes[r], piece_bytes_, [&](std::size_t at, int count) {
        std::vector<int> counts(sizes.size(), 0);
        counts[r] = count;
        const bool gives = r == static_cast<std::size_t>(rank_);
        collective_gather(gives ? mine.subspan(at, static_cast<std::size_t>(count))
                                : std::span<const std::byte>(),
                          rank_ == root ? all + start + at : nullptr, counts, starts, root);
      });
      start += sizes[r];
    }
  }

  void send(int to, int tag, std::string text) override {
    REFRACT_ASSERT(to >= 0 && to < size_, "to={} of {} ranks", to, size_);
    tickets_.send(to, tag, std::move(text));
  }
  [[nodiscard]] std::optional<Message> try_receive(int tag) override {
    return tickets_.try_receive(tag);
  }

  [[nodiscard]] std::unique_ptr<CommunicatorBody> split(int color, int key) override {
    MPI_Comm part = MPI_COMM_NULL;
    check(MPI_Comm_split(comm_, color, key, &part), "MPI_Comm_split");
    return std::make_unique<MpiCommunicator>(part, piece_bytes_);
  }

  [[nodiscard]] std::unique_ptr<CommunicatorBody> node_local() override {
    MPI_Comm part = MPI_COMM_NULL;
    check(MPI_Comm_split_type(comm_, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &part),
          "MPI_Comm_split_type");
    return std::make_unique<MpiCommunicator>(part, piece_bytes_);
  }

  [[nodiscard]] void* native_mpi() const override { return const_cast<MPI_Comm*>(&comm_); }

 private:
  [[nodiscard]] std::vector<std::uint64_t> sizes_of_all(std::span<const std::byte> mine) {
    std::vector<std::uint64_t> sizes(static_cast<std::size_t>(size_));
    const std::uint64_t my_size = mine.size();
    MPI_Request request;
    check(MPI_Iallgather(&my_size, 1, MPI_UINT64_T, sizes.data(), 1, MPI_UINT64_T, comm_, &request),
          "MPI_Iallgather");
    wait(request, "MPI_Iallgather");
    return sizes;
  }

  // Counts and starts of parts that follow each other, at most a piece in all.
  [[nodiscard]] static std::pair<std::vector<int>, std::vector<int>> as_ints(
      const std::vector<std::uint64_t>& sizes) {
    std::vector<int> counts(sizes.begin(), sizes.end()), starts(sizes.size(), 0);
    std::partial_sum(counts.begin(), counts.end() - 1, starts.begin() + 1);
    return {std::move(counts), std::move(starts)};
  }

  void collective_gather(std::span<const std::byte> mine, std::byte* all,
                         const std::vector<int>& counts, const std::vector<int>& starts, int root) {
    const std::size_t bytes = std::accumulate(counts.begin(), counts.end(), std::size_t{0});
    MPI_Request request;
    check(MPI_Igatherv(mine.data(), static_cast<int>(mine.size()), MPI_BYTE, all, counts.data(),
                       starts.data(), MPI_BYTE, root, comm_, &request),
          "MPI_Igatherv");
    wait(request, "MPI_Igatherv", bytes);
  }

  MPI_Comm comm_;
  MpiTickets tickets_;
  std::size_t piece_bytes_;
  int rank_ = 0, size_ = 1;
};

}  // namespace

std::unique_ptr<CommunicatorBody> duplicate_world(std::size_t piece_bytes) {
  MPI_Comm duplicate = MPI_COMM_NULL;
  check(MPI_Comm_dup(MPI_COMM_WORLD, &duplicate), "MPI_Comm_dup");
  return std::make_unique<MpiCommunicator>(duplicate, piece_bytes);
}

}  // namespace refract
