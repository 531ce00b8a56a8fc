#include "refract/comm/shared_stop.hpp"

#include <vector>

#include "refract/base/error.hpp"
#include "refract/base/stop.hpp"

namespace refract {
namespace {

constexpr int kTag = 77;  // of no other ticket

}  // namespace

void SharedStop::tell() {
  if (told_) return;
  told_ = true;
  for (int rank = 0; rank < ranks_.size(); ++rank)
    if (rank != ranks_.rank()) ranks_.send(rank, kTag, {});
}

void SharedStop::poll() {
  if (inside_) {
    if (stop_requested()) tell();
    while (ranks_.try_receive(kTag)) {
      ++heard_;
      request_stop();
    }
  }
  stop_point();
}

void SharedStop::collective(const std::function<void()>& work) {
  told_ = false;
  heard_ = 0;
  inside_ = true;
  bool stopped = false;
  try {
    const Droppable droppable;
    poll();
    work();
  } catch (const StopRequested&) {
    stopped = true;
    tell();
  }
  inside_ = false;
  const std::uint64_t mine[] = {told_ ? 1u : 0u, stopped ? 1u : 0u};
  const std::vector<std::uint64_t> all = ranks_.all_gather(std::span<const std::uint64_t>(mine));
  bool any = false;
  std::uint64_t expected = 0;
  for (std::size_t rank = 0; rank < all.size() / 2; ++rank) {
    any = any || all[2 * rank + 1] != 0;
    if (rank != static_cast<std::size_t>(ranks_.rank())) expected += all[2 * rank];
  }
  // Nothing may be left on its way for the next call.
  for (; heard_ < expected; ++heard_)
    while (!ranks_.try_receive(kTag)) continue;
  if (!any) return;
  request_stop();
  throw_stopped();
}

}  // namespace refract
