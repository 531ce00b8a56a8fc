#include "refract/stages/claimed.hpp"

#include <fmt/format.h>

#include "refract/base/activity.hpp"
#include "refract/base/error.hpp"
#include "refract/base/progress.hpp"
#include "refract/base/stop.hpp"

namespace refract {

Claim claim_of(const std::filesystem::path& file, std::string_view stage,
               const std::function<void()>& tick) {
  constexpr double kWorthSaying_s = 5;
  const Waiting wait(fmt::format("another job's work on {}", file.filename().string()));
  const double since_s = monotonic_s();
  std::string owner;
  bool said = false;
  const auto idle = [&] {
    if (tick) tick();
    if (stop_requested()) throw_stopped();
    if (said || owner.empty() || monotonic_s() - since_s < kWorthSaying_s) return;
    said = true;
    say(fmt::format("waiting for {}, which makes {}", owner, file.string()));
  };
  if (auto free = Claim::try_take(claim_name(file), stage, owner, idle)) return *std::move(free);
  return Claim::wait_for(claim_name(file), stage, idle);
}

}  // namespace refract
