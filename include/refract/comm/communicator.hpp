#pragma once
// Host values between ranks, finished on return. Bodies: MPI, and Loopback (one process, one rank).
// Move-only, passed by reference. Every method here but rank(), size() and the tickets is
// collective.
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace refract {

class CommunicatorBody;  // src/comm

using GatherRoom = std::function<std::byte*(std::size_t bytes)>;

struct Message {
  int from;
  std::string text;
};

class Communicator {
 public:
  explicit Communicator(std::unique_ptr<CommunicatorBody> body);
  ~Communicator();
  Communicator(Communicator&&) noexcept;
  Communicator& operator=(Communicator&&) noexcept;
  [[nodiscard]] static Communicator loopback();
  [[nodiscard]] static Communicator world();  // a duplicate of MPI_COMM_WORLD; needs an Environment

  [[nodiscard]] int rank() const;
  [[nodiscard]] int size() const;
  void barrier();
  template <typename T>
  void broadcast(std::span<T> values, int root) {
    broadcast_bytes(std::as_writable_bytes(values), root);
  }
  void broadcast_string(std::string& text, int root);
  // Element-wise sums. (Sums of reals are made from what all_gather or gather brings, in an order
  // that does not depend on the ranks.)
  void all_reduce_sum(std::span<std::uint64_t> values);
  [[nodiscard]] std::uint64_t all_reduce_max(std::uint64_t value);
  // Concatenates every rank's values in rank order; counts may differ.
  template <typename T>
  [[nodiscard]] std::vector<T> all_gather(std::span<const T> mine) {
    std::vector<T> all;
    all_gather_bytes(std::as_bytes(mine), room_in(all));
    return all;
  }
  // The same on `root` alone; empty on the others, which need no room for it.
  template <typename T>
  [[nodiscard]] std::vector<T> gather(std::span<const T> mine, int root) {
    std::vector<T> all;
    gather_bytes(std::as_bytes(mine), root, room_in(all));
    return all;
  }
  // Tickets: small messages (at most 1 GiB, else SystemError) from one rank to one rank, itself
  // included. send() keeps a copy and returns at once; try_receive() takes the oldest message with
  // this tag that has arrived, from any rank, or nothing. Messages with one tag from one rank
  // arrive in the order they were sent. Nothing here bounds how many are under way: the sender
  // counts credits. Tickets of one communicator are not heard in another.
  void send(int to, int tag, std::string text);
  [[nodiscard]] std::optional<Message> try_receive(int tag);
  [[nodiscard]] Communicator split(int color, int key);
  [[nodiscard]] Communicator node_local();  // the ranks of this host
  // For the store alone: a pointer to the MPI_Comm behind this communicator, null for Loopback.
  [[nodiscard]] void* native_mpi() const;

 private:
  // Where a body puts what it gathers, once it knows how much that is: so there is no second copy.
  template <typename T>
  [[nodiscard]] static GatherRoom room_in(std::vector<T>& all) {
    return [&all](std::size_t bytes) {
      all.resize(bytes / sizeof(T));
      return reinterpret_cast<std::byte*>(all.data());
    };
  }
  void broadcast_bytes(std::span<std::byte> bytes, int root);
  void all_gather_bytes(std::span<const std::byte> mine, const GatherRoom& room);
  void gather_bytes(std::span<const std::byte> mine, int root, const GatherRoom& room);
  std::unique_ptr<CommunicatorBody> body_;
};

}  // namespace refract
