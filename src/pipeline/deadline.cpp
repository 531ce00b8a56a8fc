#include "refract/pipeline/deadline.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>

#include "refract/base/progress.hpp"
#include "refract/base/stop.hpp"

namespace refract {
namespace {

constexpr double kReserve_s = 120, kReserveShare = 0.1;

}  // namespace

Deadline::Deadline(const JobTime& time) : time_(time), begun_s_(monotonic_s()) {
  if (time_.allocation_end) {
    const double left_s =
        std::max(0.0, static_cast<double>(*time_.allocation_end - std::time(nullptr)));
    end_s_ = begun_s_ + left_s;
    base_reserve_s_ = std::min(kReserve_s, kReserveShare * left_s);
  }
  set();
}

void Deadline::set() {
  const double after_s = begun_s_ + time_.stop_after_s;
  const double reserve_s = base_reserve_s_ + 2 * checkpoint_s_;
  const bool wanted = time_.stop_after_s > 0, limited = end_s_ > 0;
  if (wanted && (!limited || after_s <= end_s_ - reserve_s))
    stop_at(after_s, fmt::format("after {} (--stop-after)", human_seconds(time_.stop_after_s)));
  else if (limited)
    stop_at(end_s_ - reserve_s,
            fmt::format("ahead of the end of the allocation, with {} left for the checkpoint",
                        human_seconds(reserve_s)));
}

void Deadline::checkpoint_took(double seconds) {
  if (seconds <= checkpoint_s_) return;
  checkpoint_s_ = seconds;
  set();
}

void stop_unless_left(double seconds, std::string_view what) {
  const double left_s = seconds_until_stop();
  if (left_s > seconds || stop_requested()) return;
  stop_at(monotonic_s(), fmt::format("in time: {} takes about {}, and {} are left", what,
                                     human_seconds(seconds), human_seconds(left_s)));
}

}  // namespace refract
