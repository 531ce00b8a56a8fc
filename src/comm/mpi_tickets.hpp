#pragma once
// The small messages of one communicator (communicator.hpp): sends that complete on their own.
#include <mpi.h>

#include <cstddef>
#include <list>
#include <optional>
#include <string>

#include "refract/comm/communicator.hpp"

namespace refract {

// Of Exchange's messages. MPI promises every tag up to this one.
inline constexpr int kExchangeTag = 32'767;

class MpiTickets {
 public:
  MpiTickets(MPI_Comm comm, std::size_t largest_bytes)
      : comm_(comm), largest_bytes_(largest_bytes) {}
  ~MpiTickets();
  MpiTickets(const MpiTickets&) = delete;
  void send(int to, int tag, std::string text);
  [[nodiscard]] std::optional<Message> try_receive(int tag);

 private:
  struct Sent {
    std::string text;  // MPI reads it until the request is done: a list keeps it in its place
    MPI_Request request = MPI_REQUEST_NULL;
  };
  void forget_delivered();

  MPI_Comm comm_;  // borrowed
  std::size_t largest_bytes_;
  std::list<Sent> sent_;
};

}  // namespace refract
