#pragma once
// What each rank writes about itself every few seconds, and what another concludes from it.
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>

#include "refract/base/activity.hpp"

namespace refract {

struct Heartbeat {
  int rank = 0;
  std::string host, boot;  // boot: the kernel's id of this boot
  std::int64_t pid = 0;
  std::uint64_t count = 0;  // of heartbeats; one that stands still is the sign of a frozen rank
  Activity activity;
};

// <folder>/<rank>, replaced as a whole; not synced: it need not outlive the machine. What cannot be
// written is left.
void write_heartbeat(const std::filesystem::path& folder, const Heartbeat& beat);
[[nodiscard]] std::optional<Heartbeat> read_heartbeat(const std::filesystem::path& folder,
                                                      int rank);

struct Observed {
  int rank = 0;
  std::optional<Heartbeat> beat;  // nothing: no file
  double unchanged_s = 0;         // since its count last changed, as seen here
};

// One line that names the rank that holds up the job, when there is one: a rank that has worked
// without a tick for limit_s, or, when `own` has waited for twice that, a frozen or busy one among
// the others, or a wait of all for all.
[[nodiscard]] std::optional<std::string> find_hang(const Heartbeat& own,
                                                   std::span<const Observed> others,
                                                   double limit_s);

}  // namespace refract
