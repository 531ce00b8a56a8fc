#include "refract/comm/communicator.hpp"

#include "comm/communicator_body.hpp"

namespace refract {

Communicator::Communicator(std::unique_ptr<CommunicatorBody> body) : body_(std::move(body)) {}
Communicator::~Communicator() = default;
Communicator::Communicator(Communicator&&) noexcept = default;
Communicator& Communicator::operator=(Communicator&&) noexcept = default;
Communicator Communicator::loopback() { return Communicator(make_loopback()); }

int Communicator::rank() const { return body_->rank(); }
int Communicator::size() const { return body_->size(); }
void Communicator::barrier() { body_->barrier(); }
void Communicator::all_reduce_sum(std::span<std::uint64_t> values) {
  body_->all_reduce_sum(values);
}
std::uint64_t Communicator::all_reduce_max(std::uint64_t value) {
  return body_->all_reduce_max(value);
}
void Communicator::send(int to, int tag, std::string text) {
  body_->send(to, tag, std::move(text));
}
std::optional<Message> Communicator::try_receive(int tag) { return body_->try_receive(tag); }
Communicator Communicator::split(int color, int key) {
  return Communicator(body_->split(color, key));
}
Communicator Communicator::node_local() { return Communicator(body_->node_local()); }
void* Communicator::native_mpi() const { return body_->native_mpi(); }
void Communicator::broadcast_bytes(std::span<std::byte> bytes, int root) {
  body_->broadcast(bytes, root);
}
void Communicator::all_gather_bytes(std::span<const std::byte> mine, const GatherRoom& room) {
  body_->all_gather(mine, room);
}
void Communicator::gather_bytes(std::span<const std::byte> mine, int root, const GatherRoom& room) {
  body_->gather(mine, root, room);
}

void Communicator::broadcast_string(std::string& text, int root) {
  std::uint64_t size = text.size();
  broadcast(std::span(&size, 1), root);
  text.resize(size);
  broadcast(std::span(text.data(), text.size()), root);
}

}  // namespace refract
