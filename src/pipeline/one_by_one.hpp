#pragma once
// The SAEs of one stage of the analysis, one after the other.
#include <cstdint>
#include <optional>
#include <string>

#include "refract/base/progress.hpp"
#include "refract/pipeline/deadline.hpp"
#include "refract/pipeline/results.hpp"

namespace refract {

// Tells how many are finished, and begins another only while as long as the one before took is
// left.
class OneByOne {
 public:
  OneByOne(std::uint64_t finished, const PartsDone& parts_done, bool& made)
      : finished_(finished), parts_done_(parts_done), made_(made) {
    if (parts_done_) parts_done_(finished_);
  }
  // doing: "probing big". StopRequested where too little time is left.
  void begin(const std::string& doing) {
    if (took_s_) stop_unless_left(*took_s_, doing);
    began_s_ = monotonic_s();
  }
  void end() {
    took_s_ = monotonic_s() - began_s_;
    made_ = true;
    if (parts_done_) parts_done_(++finished_);
  }

 private:
  std::uint64_t finished_;
  const PartsDone& parts_done_;
  bool& made_;
  double began_s_ = 0;
  std::optional<double> took_s_;  // the one before
};

}  // namespace refract
