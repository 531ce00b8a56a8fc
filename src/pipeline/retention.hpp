#pragma once
// What stays of old checkpoints. Trainer state: of the two newest complete ones. SAELens files: by
// checkpoint.keep, and of those two. Of a checkpoint within a chunk: all, until the next one.
// state.json of a complete one stays for good.
//
// A new checkpoint supersedes a few files of at most two older ones, whatever came before.
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "refract/pipeline/ledger.hpp"
#include "refract/pipeline/run_config.hpp"

namespace refract {

// Whether `rule` holds on to the SAELens folder of a visit, of so many in all; for KeepRule::last,
// while it is among the newest.
[[nodiscard]] bool keeps_export(const KeepRule& rule, std::uint64_t visit, std::uint64_t visits);

// What goes of a checkpoint.
struct Superseded {
  std::string folder;
  bool everything = false, trainer_state = false, exports = false;
  friend bool operator==(const Superseded&, const Superseded&) = default;
};

class Retention {
 public:
  explicit Retention(const KeepRule& rule);
  // The record is the newest from now on; `visits` as of keeps_export.
  [[nodiscard]] std::vector<Superseded> add(const CheckpointRecord& record, std::uint64_t visits);
  // So many complete records, before the newest, decide what the newest supersedes.
  [[nodiscard]] std::size_t reach() const { return reach_; }

 private:
  struct Complete {
    std::uint64_t visit;
    std::string folder;
  };
  KeepRule rule_;
  std::size_t reach_;
  std::deque<Complete> complete_;  // the newest
  std::vector<std::string> within_;
};

// The same for all records at once, oldest first: what must be gone after the last of them. Only
// for a rule that was another before, since it names every old checkpoint.
[[nodiscard]] std::vector<Superseded> superseded_by_last(
    const KeepRule& rule, const std::vector<CheckpointRecord>& records, std::uint64_t visits);

}  // namespace refract
