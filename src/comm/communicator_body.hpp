#pragma once
// What a Communicator does, by bodies: loopback.cpp, mpi_communicator.cpp.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "refract/comm/communicator.hpp"

namespace refract {

class CommunicatorBody {
 public:
  virtual ~CommunicatorBody() = default;
  [[nodiscard]] virtual int rank() const = 0;
  [[nodiscard]] virtual int size() const = 0;
  virtual void barrier() = 0;
  virtual void broadcast(std::span<std::byte> bytes, int root) = 0;
  virtual void all_reduce_sum(std::span<std::uint64_t> values) = 0;
  [[nodiscard]] virtual std::uint64_t all_reduce_max(std::uint64_t value) = 0;
  virtual void all_gather(std::span<const std::byte> mine, const GatherRoom& room) = 0;
  virtual void gather(std::span<const std::byte> mine, int root, const GatherRoom& room) = 0;
  virtual void send(int to, int tag, std::string text) = 0;
  [[nodiscard]] virtual std::optional<Message> try_receive(int tag) = 0;
  [[nodiscard]] virtual std::unique_ptr<CommunicatorBody> split(int color, int key) = 0;
  [[nodiscard]] virtual std::unique_ptr<CommunicatorBody> node_local() = 0;
  [[nodiscard]] virtual void* native_mpi() const = 0;
};

[[nodiscard]] std::unique_ptr<CommunicatorBody> make_loopback();

}  // namespace refract
