// One process, one rank: every collective is the identity, and tickets go round to their sender.
#include <algorithm>
#include <deque>
#include <map>

#include "comm/communicator_body.hpp"
#include "refract/base/error.hpp"

namespace refract {
namespace {

class Loopback final : public CommunicatorBody {
 public:
  [[nodiscard]] int rank() const override { return 0; }
  [[nodiscard]] int size() const override { return 1; }
  void barrier() override {}
  void broadcast(std::span<std::byte>, int) override {}
  void all_reduce_sum(std::span<std::uint64_t>) override {}
  [[nodiscard]] std::uint64_t all_reduce_max(std::uint64_t value) override { return value; }
  void all_gather(std::span<const std::byte> mine, const GatherRoom& room) override {
    std::ranges::copy(mine, room(mine.size()));
  }
  void gather(std::span<const std::byte> mine, int, const GatherRoom& room) override {
    std::ranges::copy(mine, room(mine.size()));
  }
  void send(int to, int tag, std::string text) override {
    REFRACT_ASSERT(to == 0, "to={} of 1 rank", to);
    inbox_[tag].push_back(std::move(text));
  }
  [[nodiscard]] std::optional<Message> try_receive(int tag) override {
    std::deque<std::string>& waiting = inbox_[tag];
    if (waiting.empty()) return std::nullopt;
    Message oldest{.from = 0, .text = std::move(waiting.front())};
    waiting.pop_front();
    return oldest;
  }
  [[nodiscard]] std::unique_ptr<CommunicatorBody> split(int, int) override {
    return make_loopback();
  }
  [[nodiscard]] std::unique_ptr<CommunicatorBody> node_local() override { return make_loopback(); }
  [[nodiscard]] void* native_mpi() const override { return nullptr; }

 private:
  std::map<int, std::deque<std::string>> inbox_;
};

}  // namespace

std::unique_ptr<CommunicatorBody> make_loopback() { return std::make_unique<Loopback>(); }

}  // namespace refract
