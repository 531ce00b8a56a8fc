#pragma once
// What a rank does next. A plan maps each role to a set of ranks; each rank takes the next ticket of any role it
// holds. Pure functions of the plan and of what has happened, so that any number of ranks can be planned (and
// printed by --dry-run) in one process.
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace refract {

enum class Role { download, tokenize, extract, train };
enum class Layout { fused, split };

struct RolePlan {
  Layout layout = Layout::fused;
  std::vector<std::set<Role>> roles;  // of each rank
  [[nodiscard]] std::vector<int> ranks_with(Role role) const;
};
// fused: every rank holds every role.
[[nodiscard]] RolePlan plan_roles(const std::string& layout, int ranks);
[[nodiscard]] std::string print_roles(const RolePlan& plan);

// A piece of collective work of one role's ranks.
struct Ticket {
  enum class Work { extract, train, evict } work;
  std::uint64_t index = 0;  // chunk (extract, evict) or visit (train)
  friend bool operator==(const Ticket&, const Ticket&) = default;
};

// What has happened to the chunks, from the ledger.
struct ChunkProgress {
  std::uint64_t chunks = 0;          // of the corpus, as far as planned
  std::uint64_t visits = 0;          // chunks x corpus_passes
  std::set<std::uint64_t> sealed;
  std::uint64_t visits_done = 0;     // with a complete, sealed checkpoint
  bool may_evict = false;            // store.mode ring
  std::uint64_t free_chunks = 0;     // further chunks that fit the quota
};

// The next ticket for a rank that holds `roles`, or none when it has nothing (left) to do. fused: extract the
// chunk the next visit needs, train it. With the extract role alone (split), run ahead while the quota allows.
// A chunk is evicted only when no later visit needs it and the quota asks for room.
[[nodiscard]] std::optional<Ticket> next_ticket(const ChunkProgress& progress, const std::set<Role>& roles);

}  // namespace refract
