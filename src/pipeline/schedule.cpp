#include "refract/pipeline/schedule.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "refract/base/error.hpp"

namespace refract {

std::vector<int> RolePlan::ranks_with(Role role) const {
  std::vector<int> ranks;
  for (std::size_t r = 0; r < roles.size(); ++r)
    if (roles[r].contains(role)) ranks.push_back(static_cast<int>(r));
  return ranks;
}

RolePlan plan_roles(const std::string& layout, int ranks) {
  if (layout != "auto" && layout != "fused")
    throw ConfigError("pipeline.layout is '{}'; allowed: auto, fused", layout);
  return {Layout::fused, std::vector<std::set<Role>>(static_cast<std::size_t>(ranks),
                                                     {Role::download, Role::tokenize, Role::extract, Role::train})};
}

std::string print_roles(const RolePlan& plan) {
  std::string text;
  for (const auto& [role, word] : {std::pair{Role::download, "download"}, {Role::tokenize, "tokenize"},
                                   {Role::extract, "extract"}, {Role::train, "train"}})
    text += fmt::format("  {:<10} ranks {}\n", word, fmt::join(plan.ranks_with(role), " "));
  return text;
}

namespace {

std::optional<std::uint64_t> evictable(const ChunkProgress& p) {
  if (!p.may_evict) return std::nullopt;
  for (const std::uint64_t chunk : p.sealed)
    if (chunk < p.visits_done) return chunk;  // ring: one corpus pass, so visit = chunk
  return std::nullopt;
}

}  // namespace

std::optional<Ticket> next_ticket(const ChunkProgress& p, const std::set<Role>& roles) {
  const bool extracts = roles.contains(Role::extract), trains = roles.contains(Role::train);
  const std::uint64_t visit = p.visits_done;
  if (trains && visit < p.visits && p.sealed.contains(visit % p.chunks)) return Ticket{Ticket::Work::train, visit};
  if (!extracts) return std::nullopt;
  const std::uint64_t end = trains ? std::min(p.visits, visit + 1) : p.visits;
  for (std::uint64_t v = visit; v < end; ++v) {
    const std::uint64_t chunk = v % p.chunks;
    if (p.sealed.contains(chunk)) continue;
    if (p.free_chunks > 0) return Ticket{Ticket::Work::extract, chunk};
    if (const std::optional<std::uint64_t> old = evictable(p)) return Ticket{Ticket::Work::evict, *old};
    if (!trains) return std::nullopt;  // the quota is full: wait for training
    throw ConfigError("disk.max_bytes leaves no room for chunk {} and nothing may be evicted. Raise disk.max_bytes or "
                      "lower store.chunk_rows.", chunk);
  }
  return std::nullopt;
}

}  // namespace refract
