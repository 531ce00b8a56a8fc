#pragma once
// How long this job may go on: until the allocation ends, or until --stop-after. World rank 0 sets
// the moment at which a stop is wanted (base/stop.hpp) early enough for the last checkpoint, so
// that a job ends by itself also where no signal comes ahead of the walltime.
#include <cstdint>
#include <optional>
#include <string_view>

namespace refract {

struct JobTime {
  std::optional<std::int64_t> allocation_end;  // seconds since 1970
  double stop_after_s = 0;                     // since the start; 0 = without
};

class Deadline {
 public:
  // The moment is set now: stop_after_s from here, or before the allocation's end by a reserve of
  // two minutes, a tenth of what is left if that is less; whichever comes first.
  explicit Deadline(const JobTime& time);
  // A checkpoint took so long, from the wish to the ledger: the reserve holds two of the longest
  // besides.
  void checkpoint_took(double seconds);

 private:
  void set();
  JobTime time_;
  double begun_s_;             // of monotonic_s()
  double end_s_ = 0;           // of the allocation, of monotonic_s(); 0 = none
  double base_reserve_s_ = 0;  // without checkpoints
  double checkpoint_s_ = 0;    // the longest
};

// Wants a stop now when less than `seconds` are left until the moment that is set: before `what`
// ("evaluating an SAE"), which takes about so long and would be lost.
void stop_unless_left(double seconds, std::string_view what);

}  // namespace refract
