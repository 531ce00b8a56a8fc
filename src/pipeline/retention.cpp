#include "pipeline/retention.hpp"

#include <algorithm>

namespace refract {
namespace {
constexpr std::size_t kStates = 2;  // complete checkpoints whose trainer state stays
}

bool keeps_export(const KeepRule& rule, std::uint64_t visit, std::uint64_t visits) {
  switch (rule.kind) {
    case KeepRule::Kind::spread:
      return visits <= KeepRule::kSpread ||
             (visit + 1) * KeepRule::kSpread / visits > visit * KeepRule::kSpread / visits;
    case KeepRule::Kind::every: return (visit + 1) % rule.n == 0;
    case KeepRule::Kind::all:
    case KeepRule::Kind::last: break;
  }
  return true;
}

Retention::Retention(const KeepRule& rule)
    : rule_(rule),
      reach_(rule.kind == KeepRule::Kind::last ? std::max<std::size_t>(kStates, rule.n) : kStates) {
}

std::vector<Superseded> Retention::add(const CheckpointRecord& record, std::uint64_t visits) {
  std::vector<Superseded> gone;
  for (const std::string& folder : within_) gone.push_back({.folder = folder, .everything = true});
  within_.clear();
  if (!record.complete) {
    within_.push_back(record.folder);
    return gone;
  }
  complete_.push_back({record.visit, record.folder});
  const std::size_t count = complete_.size();
  if (count > kStates) {
    const Complete& old = complete_[count - 1 - kStates];
    const bool kept = rule_.kind == KeepRule::Kind::last || keeps_export(rule_, old.visit, visits);
    gone.push_back({.folder = old.folder, .trainer_state = true, .exports = !kept});
  }
  if (count <= reach_) return gone;
  if (rule_.kind == KeepRule::Kind::last)
    gone.push_back({.folder = complete_.front().folder, .exports = true});
  complete_.pop_front();
  return gone;
}

std::vector<Superseded> superseded_by_last(const KeepRule& rule,
                                           const std::vector<CheckpointRecord>& records,
                                           std::uint64_t visits) {
  Retention retention(rule);
  std::vector<Superseded> gone;
  for (const CheckpointRecord& record : records)
    for (Superseded& one : retention.add(record, visits)) gone.push_back(std::move(one));
  return gone;
}

}  // namespace refract
