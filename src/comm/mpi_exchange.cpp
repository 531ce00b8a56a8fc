// Sums and gathers made of messages: the libraries' own collectives add in an order of theirs, and
// are slower between ranks of one host (docs/performance.md). A call goes in rounds of one bucket:
//
//   reduce, 3 ranks         r0 [a0 a1 a2]        r0 gets a0 b0 c0, adds (a0+b0)+c0
//                           r1 [b0 b1 b2]   ->   r1 gets a1 b1 c1, adds (a1+b1)+c1
//                           r2 [c0 c1 c2]        r2 gets a2 b2 c2, adds (a2+b2)+c2
//   gather                  r0 [s0 .. ..]        every rank gets s0 s1 s2
//   all_reduce, per bucket: reduce, then gather; where it is so small that only the number of
//   messages counts, every rank sends all and adds all.
#include "comm/mpi_exchange.hpp"

#include <mpi.h>

#include <algorithm>
#include <type_traits>
#include <vector>

#include "comm/mpi_check.hpp"
#include "comm/mpi_piece.hpp"
#include "comm/mpi_tickets.hpp"
#include "comm/mpi_wait.hpp"
#include "comm/work_room.hpp"
#include "refract/base/error.hpp"

namespace refract {
namespace {

constexpr std::size_t kSmall_bytes = 4096;  // of a message that costs as much as an empty one

// `from` as it travels, in `out` where that is another type.
const float* travelling(const float* from, std::size_t, float*) { return from; }
const double* travelling(const double* from, std::size_t, double*) { return from; }
const std::uint64_t* travelling(const std::uint64_t* from, std::size_t, std::uint64_t*) {
  return from;
}
const BFloat16* travelling(const float* from, std::size_t count, BFloat16* out) {
  to_bf16({from, count}, {out, count});
  return out;
}
template <typename T>
T arrived(T value) {
  return value;
}
float arrived(BFloat16 value) { return to_float(value); }

// sums[i] = ((parts[0][i] + parts[1][i]) + parts[2][i]) + ...; sums may be one of the parts.
template <typename T, typename Sent>
void add_in_rank_order(const std::vector<const void*>& parts, std::size_t count, T* sums) {
  constexpr std::size_t kBlock = 2048;  // stays in the nearest cache
  T block[kBlock];
  for (std::size_t at = 0; at < count; at += kBlock) {
    const std::size_t n = std::min(kBlock, count - at);
    const Sent* first = static_cast<const Sent*>(parts[0]) + at;
    for (std::size_t i = 0; i < n; ++i) block[i] = arrived(first[i]);
    for (std::size_t r = 1; r < parts.size(); ++r) {
      const Sent* next = static_cast<const Sent*>(parts[r]) + at;
      for (std::size_t i = 0; i < n; ++i) block[i] += arrived(next[i]);
    }
    std::copy_n(block, n, sums + at);
  }
}

class MpiExchange final : public ExchangeBody {
 public:
  MpiExchange(MPI_Comm comm, Wire wire, std::size_t bucket_bytes)
      : comm_(comm), wire_(wire), bucket_bytes_(bucket_bytes) {
    check(MPI_Comm_rank(comm_, &rank_), "MPI_Comm_rank");
    check(MPI_Comm_size(comm_, &size_), "MPI_Comm_size");
    if (bucket_bytes_ == 0) bucket_bytes_ = bucket_bytes_for(size_);
    REFRACT_ASSERT(bucket_bytes_ <= kMpiPiece_bytes, "bucket_bytes {}", bucket_bytes_);
    parts_.resize(ranks());
    addends_.resize(ranks());
  }
  [[nodiscard]] int rank() const override { return rank_; }
  [[nodiscard]] int size() const override { return size_; }
  [[nodiscard]] Device device() const override { return {}; }

  void all_reduce_sum(std::byte* values, DType type, std::size_t size, Stream&) override {
    if (size_ == 1) return;
    switch (type) {
      case DType::f32:
        if (wire_ == Wire::bf16)
          return all_reduce<float, BFloat16>(reinterpret_cast<float*>(values), size);
        return all_reduce<float, float>(reinterpret_cast<float*>(values), size);
      case DType::f64: return all_reduce<double, double>(reinterpret_cast<double*>(values), size);
      case DType::u64:
        return all_reduce<std::uint64_t, std::uint64_t>(reinterpret_cast<std::uint64_t*>(values),
                                                        size);
      default: REFRACT_ASSERT(false, "dtype {}", name(type));
    }
  }

  void reduce_scatter_sum(const float* values, std::span<const std::size_t> counts, float* mine,
                          Stream&) override {
    if (wire_ == Wire::bf16 && size_ > 1)
      reduce_scatter<float, BFloat16>(values, counts, mine);
    else
      reduce_scatter<float, float>(values, counts, mine);
  }

  void all_gather(std::byte* all, std::size_t element_bytes, std::span<const std::size_t> counts,
                  Stream&) override {
    for_each_round(counts, bucket_bytes_ / element_bytes, [&](std::size_t) {
      for (Part& part : parts_)
        part = {.first = part.first * element_bytes, .count = part.count * element_bytes};
      gather(all);
    });
  }

 private:
  struct Part {
    std::size_t first = 0, count = 0;
  };
  [[nodiscard]] std::size_t ranks() const { return static_cast<std::size_t>(size_); }
  [[nodiscard]] std::size_t me() const { return static_cast<std::size_t>(rank_); }

  // Cuts parts that lie behind each other into rounds of `bucket` elements, an equal number of each
  // rank: parts_ says which, round() is given how many of this rank's came before.
  template <typename Round>
  void for_each_round(std::span<const std::size_t> counts, std::size_t bucket, Round&& round) {
    const std::size_t each = std::max<std::size_t>(1, bucket / ranks());
    const std::size_t longest = *std::ranges::max_element(counts);
    for (std::size_t done = 0; done < longest; done += each) {
      std::size_t start = 0;
      for (std::size_t r = 0; r < ranks(); ++r) {
        const std::size_t before = std::min(done, counts[r]);
        parts_[r] = {.first = start + before, .count = std::min(each, counts[r] - before)};
        start += counts[r];
      }
      round(std::min(done, counts[me()]));
    }
  }

  template <typename T, typename Sent>
  void all_reduce(T* values, std::size_t size) {
    if constexpr (std::is_same_v<T, Sent>)
      if (size * sizeof(T) <= kSmall_bytes && size * sizeof(T) * ranks() <= bucket_bytes_)
        return all_reduce_small(values, size);
    constexpr std::size_t kLine = 64 / sizeof(Sent);  // no cache line with two owners
    const std::size_t bucket = std::max<std::size_t>(1, bucket_bytes_ / sizeof(Sent));
    for (std::size_t at = 0; at < size; at += bucket) {
      const std::size_t count = std::min(bucket, size - at);
      const std::size_t each = ((count + ranks() - 1) / ranks() + kLine - 1) / kLine * kLine;
      for (std::size_t r = 0; r < ranks(); ++r) {
        const std::size_t first = std::min(count, r * each);
        parts_[r] = {.first = at + first, .count = std::min(each, count - first)};
      }
      reduce<T, Sent>(values, values + parts_[me()].first);
      if constexpr (std::is_same_v<T, Sent>)
        gather(values);
      else
        gather_rounded(values);
    }
  }

  template <typename T>
  void all_reduce_small(T* values, std::size_t size) {
    T* in = in_.of<T>(size * ranks());
    addends_[me()] = values;
    for_each_other([&](int other, std::size_t r) {
      receive(in + r * size, size, other);
      addends_[r] = in + r * size;
    });
    for_each_other([&](int other, std::size_t) { send(values, size, other); });
    wait_all("the sum of small values", size * ranks() * sizeof(T));
    add_in_rank_order<T, T>(addends_, size, values);
  }

  template <typename T, typename Sent>
  void reduce_scatter(const T* values, std::span<const std::size_t> counts, T* mine) {
    for_each_round(counts, bucket_bytes_ / sizeof(Sent),
                   [&](std::size_t before) { reduce<T, Sent>(values, mine + before); });
  }

  // One round of sums, of parts_.
  template <typename T, typename Sent>
  void reduce(const T* values, T* mine) {
    const std::size_t count = parts_[me()].count;
    Sent* in = in_.of<Sent>(count * ranks());
    Sent* out = nullptr;
    if constexpr (!std::is_same_v<T, Sent>) {
      std::size_t sum = 0;
      for (const Part& part : parts_) sum += part.count;
      out = out_.of<Sent>(sum);
    }
    const auto sent = [&](std::size_t r) {
      const Sent* from = travelling(values + parts_[r].first, parts_[r].count, out);
      if constexpr (!std::is_same_v<T, Sent>) out += parts_[r].count;
      return from;
    };
    for_each_other([&](int other, std::size_t r) {
      receive(in + r * count, count, other);
      addends_[r] = in + r * count;
    });
    for_each_other([&](int other, std::size_t r) { send(sent(r), parts_[r].count, other); });
    addends_[me()] = sent(me());
    wait_all("reduce_scatter_sum", count * ranks() * sizeof(Sent));
    add_in_rank_order<T, Sent>(addends_, count, mine);
  }

  // One round of parts_ to everyone, where they belong.
  template <typename T>
  void gather(T* all) {
    std::size_t bytes = 0;
    for_each_other([&](int other, std::size_t r) {
      receive(all + parts_[r].first, parts_[r].count, other);
      bytes += parts_[r].count * sizeof(T);
    });
    const Part mine = parts_[me()];
    for_each_other([&](int other, std::size_t) { send(all + mine.first, mine.count, other); });
    wait_all("all_gather", bytes);
  }

  void gather_rounded(float* all) {
    const Part mine = parts_[me()], last = parts_.back();
    const std::size_t begin = parts_[0].first, count = last.first + last.count - begin;
    BFloat16* whole = in_.of<BFloat16>(count);
    to_bf16({all + mine.first, mine.count}, {whole + (mine.first - begin), mine.count});
    for (Part& part : parts_) part.first -= begin;
    gather(whole);
    to_float({whole, count}, {all + begin, count});
  }

  // use(rank, rank), the next one first: so the ranks do not all turn to the same one.
  template <typename Use>
  void for_each_other(Use&& use) const {
    for (int step = 1; step < size_; ++step) {
      const int other = (rank_ + step) % size_;
      use(other, static_cast<std::size_t>(other));
    }
  }
  template <typename T>
  void receive(T* to, std::size_t count, int from) {
    if (count == 0) return;
    check(MPI_Irecv(to, static_cast<int>(count * sizeof(T)), MPI_BYTE, from, kExchangeTag, comm_,
                    &requests_.emplace_back()),
          "MPI_Irecv");
  }
  template <typename T>
  void send(const T* from, std::size_t count, int to) {
    if (count == 0) return;
    check(MPI_Isend(from, static_cast<int>(count * sizeof(T)), MPI_BYTE, to, kExchangeTag, comm_,
                    &requests_.emplace_back()),
          "MPI_Isend");
  }
  void wait_all(const char* what, std::size_t bytes) {
    wait(requests_, what, bytes);
    requests_.clear();
  }

  MPI_Comm comm_;
  Wire wire_;
  std::size_t bucket_bytes_;
  int rank_ = 0, size_ = 1;
  std::vector<Part> parts_;  // of this round, by rank
  std::vector<MPI_Request> requests_;
  std::vector<const void*> addends_;  // of this round, by rank
  WorkRoom in_, out_;
};

}  // namespace

std::unique_ptr<ExchangeBody> make_mpi_exchange(const void* comm, Wire wire,
                                                std::size_t bucket_bytes) {
  return std::make_unique<MpiExchange>(*static_cast<const MPI_Comm*>(comm), wire, bucket_bytes);
}

}  // namespace refract
