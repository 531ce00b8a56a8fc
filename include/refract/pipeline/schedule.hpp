#pragma once
// What the ranks do next. A plan maps each role to a set of ranks; the coordinator (world rank 0)
// hands out tickets, and a rank takes the next ticket of any role it holds. Pure functions of the
// plan and of what has happened, so that any number of ranks can be planned (and printed by
// --dry-run) in one process.
//
//   download ──▶ tokenize ──▶ extract ──▶ train
//   queue_shards   queue_chunks   disk.max_bytes
//
// download and tokenize: a ticket is one rank's, a shard. extract and train: it is of all the
// role's ranks together, a chunk or a visit.
//
// fused: every role is all ranks; a chunk is extracted, then trained. split: disjoint sets of
// ranks; each role runs ahead of the next until the queue between them is full.
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "refract/base/number_set.hpp"

namespace refract {

enum class Role { download, tokenize, extract, train };
inline constexpr std::size_t kRoles = 4;
[[nodiscard]] std::string_view name(Role role);

struct PipelineConfig {
  std::string layout = "auto";       // auto | fused | split
  std::uint32_t download_ranks = 0;  // of the split layout; 0 = chosen
  std::uint32_t tokenize_ranks = 0;
  std::uint32_t extract_ranks = 0;
  std::uint32_t train_ranks = 0;
  std::uint32_t queue_shards = 8;  // downloaded shards that wait for tokenization, at most
  std::uint32_t queue_chunks =
      4;                    // chunks tokenized, and chunks extracted, ahead of their use, at most
  double watchdog_s = 600;  // a rank that gets no further for so long ends the job; 0 = never
};

struct RolePlan {
  bool split = false;
  std::vector<std::set<Role>> roles;  // of each rank
  [[nodiscard]] std::vector<int> ranks_with(Role role) const;
};
// ConfigError when the counts do not fit the ranks. auto: split when the cores of this machine can
// carry four ranks or more on a core each, else fused. Counts left at 0 in split: download and
// tokenization share rank 0 from three ranks on (with extraction below that); of the ranks left
// over, training gets the larger half.
[[nodiscard]] RolePlan plan_roles(const PipelineConfig& config, int ranks, int cores);
// A line per role, ranks as ranges: "train      ranks 256-511".
[[nodiscard]] std::string print_roles(const RolePlan& plan);

// A piece of work. Download and tokenize are one rank's; the others are collective over the ranks
// of their role (prepare: of extract; restore: of train). evict is the coordinator's own.
struct Ticket {
  enum class Work { download, tokenize, prepare, extract, restore, train, evict };
  Work work = Work::download;
  std::uint64_t index = 0;  // shard, chunk (extract, evict) or visit (train)
  friend bool operator==(const Ticket&, const Ticket&) = default;
};
[[nodiscard]] Role role_of(Ticket::Work work);
[[nodiscard]] std::string_view name(Ticket::Work work);

struct Assignment {
  Ticket ticket;
  std::vector<int> ranks;  // empty: the coordinator itself
  friend bool operator==(const Assignment&, const Assignment&) = default;
};

// What has happened.
struct PipelineState {
  // The corpus. A shard is admitted when it and all before it are tokenized: its rows have their
  // place.
  std::uint64_t shards = 0;
  NumberSet downloaded, tokenized;
  bool corpus_complete = false;  // no further shard is needed
  bool streams =
      false;  // train.tokens is a number: extraction starts before the corpus is complete
  bool first_window = false;  // calibration and held-out rows can be made
  std::uint64_t rows = 0;     // known, of admitted windows
  std::uint64_t chunk_rows = 1;
  // The store.
  bool prepared = false;           // calibration and held-out rows exist
  std::uint64_t chunks = 0;        // in all; planned, when the corpus streams
  std::uint64_t chunks_known = 0;  // whose rows are known
  NumberSet sealed;
  bool may_evict = false;            // store.mode ring
  std::uint64_t chunks_allowed = 0;  // by the quota
  // Training.
  bool restored = false;
  std::uint64_t visits = 0;          // chunks x corpus_passes
  std::uint64_t visits_trained = 0;  // in this attempt or before; what comes next follows this
  std::uint64_t visits_done = 0;     // with a complete checkpoint in the ledger: at most one behind
};

// What can start now, given what runs. Later roles go first; a rank that a collective ticket waits
// for gets no other. At most one ticket of each collective role runs. Nothing starts and nothing
// runs: a checkpoint is on its way to the ledger (visits_done < visits_trained); else the work is
// done, or the corpus ended early, or the quota holds chunks that nobody is there to train.
[[nodiscard]] std::vector<Assignment> next_assignments(const PipelineConfig& config,
                                                       const RolePlan& plan,
                                                       const PipelineState& state,
                                                       const std::vector<Assignment>& running);

}  // namespace refract
