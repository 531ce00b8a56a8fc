#include "refract/stages/claimed.hpp"

#include <fmt/format.h>

#include "refract/base/activity.hpp"
#include "refract/base/error.hpp"
#include "refract/base/stop.hpp"

namespace refract {

Claim claim_of(const std::filesystem::path& file, std::string_view stage,
               const std::function<void()>& tick) {
  const Waiting wait(fmt::format("another job's work on {}", file.filename().string()));
  return Claim::wait_for(claim_name(file), stage, [&tick] {
    if (tick) tick();
    if (stop_requested()) throw StopRequested("stopped by a signal; start again to go on");
  });
}

}  // namespace refract
