#include "refract/pipeline/schedule.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "refract/base/error.hpp"

namespace refract {

using Work = Ticket::Work;

std::string_view name(Role role) {
  switch (role) {
    case Role::download: return "download";
    case Role::tokenize: return "tokenize";
    case Role::extract: return "extract";
    case Role::train: return "train";
  }
  return "";
}

Role role_of(Work work) {
  switch (work) {
    case Work::download: return Role::download;
    case Work::tokenize: return Role::tokenize;
    case Work::prepare:
    case Work::extract:
    case Work::evict: return Role::extract;
    case Work::restore:
    case Work::train: return Role::train;
  }
  return Role::train;
}

std::string_view name(Work work) {
  switch (work) {
    case Work::prepare: return "calibration and held-out rows";
    case Work::restore: return "restore";
    case Work::evict: return "evict";
    default: return name(role_of(work));
  }
}

std::vector<int> RolePlan::ranks_with(Role role) const {
  std::vector<int> ranks;
  for (std::size_t r = 0; r < roles.size(); ++r)
    if (roles[r].contains(role)) ranks.push_back(static_cast<int>(r));
  return ranks;
}

namespace {

const std::set<Role> kAllRoles{Role::download, Role::tokenize, Role::extract, Role::train};

RolePlan split_by_counts(const PipelineConfig& c, int ranks) {
  RolePlan plan{.split = true, .roles = {}};
  const std::pair<Role, std::uint32_t> counts[] = {{Role::download, c.download_ranks},
                                                   {Role::tokenize, c.tokenize_ranks},
                                                   {Role::extract, c.extract_ranks},
                                                   {Role::train, c.train_ranks}};
  std::uint64_t sum = 0;
  for (const auto& [role, count] : counts) {
    if (count == 0)
      throw ConfigError(
          "pipeline.{}_ranks is 0 while others are given. Give all four, or none: then refract "
          "chooses them.",
          name(role));
    sum += count;
    for (std::uint32_t i = 0; i < count; ++i) plan.roles.push_back({role});
  }
  if (sum != static_cast<std::uint64_t>(ranks))
    throw ConfigError(
        "pipeline: {} download, {} tokenize, {} extract and {} train ranks are {}, but the job has "
        "{}. Start it with --ranks {}, or change the counts.",
        c.download_ranks, c.tokenize_ranks, c.extract_ranks, c.train_ranks, sum, ranks, sum);
  return plan;
}

RolePlan split_by_choice(int ranks) {
  if (ranks == 2)
    return {.split = true,
            .roles = {{Role::download, Role::tokenize, Role::extract}, {Role::train}}};
  RolePlan plan{.split = true, .roles = {{Role::download, Role::tokenize}}};
  const int extractors = (ranks - 1) / 2;
  for (int r = 1; r < ranks; ++r)
    plan.roles.push_back({r <= extractors ? Role::extract : Role::train});
  return plan;
}

}  // namespace

RolePlan plan_roles(const PipelineConfig& config, int ranks, int cores) {
  if (config.layout != "auto" && config.layout != "fused" && config.layout != "split")
    throw ConfigError("pipeline.layout is '{}'; allowed: auto, fused, split", config.layout);
  const bool counted =
      config.download_ranks || config.tokenize_ranks || config.extract_ranks || config.train_ranks;
  if (config.layout == "fused" && counted)
    throw ConfigError(
        "pipeline.layout is fused, where every rank has every role, but numbers of ranks are "
        "given. Set pipeline.layout to split, or leave the numbers out.");
  const bool split = config.layout == "split" ||
                     (config.layout == "auto" && (counted || (ranks >= 4 && cores >= ranks)));
  if (!split)
    return {.split = false,
            .roles = std::vector<std::set<Role>>(static_cast<std::size_t>(ranks), kAllRoles)};
  if (ranks < 2)
    throw ConfigError(
        "pipeline.layout is split, but the job has one rank. Start it with --ranks 2 or more.");
  return counted ? split_by_counts(config, ranks) : split_by_choice(ranks);
}

namespace {

// "0-3 8 10-11"
std::string ranges(const std::vector<int>& ranks) {
  std::string text;
  for (std::size_t first = 0, last = 0; first < ranks.size(); first = last + 1) {
    last = first;
    while (last + 1 < ranks.size() && ranks[last + 1] == ranks[last] + 1) ++last;
    text += fmt::format("{}{}", text.empty() ? "" : " ", ranks[first]);
    if (last > first) text += fmt::format("-{}", ranks[last]);
  }
  return text;
}

}  // namespace

std::string print_roles(const RolePlan& plan) {
  std::string text = fmt::format("  layout     {}\n", plan.split ? "split" : "fused");
  for (const Role role : kAllRoles) {
    const std::vector<int> ranks = plan.ranks_with(role);
    text += fmt::format("  {:<10} {} {}\n", name(role), ranks.size() == 1 ? "rank" : "ranks",
                        ranges(ranks));
  }
  return text;
}

namespace {

// Rows the tokenizing ranks may be ahead of extraction.
bool wants_more_rows(const PipelineConfig& config, const PipelineState& s) {
  if (s.corpus_complete) return false;
  if (!s.streams || !s.first_window) return true;
  const std::uint64_t extracted =
      s.sealed.empty() ? s.visits_trained : std::max(s.visits_trained, s.sealed.back() + 1);
  return s.rows < (extracted + config.queue_chunks + 1) * s.chunk_rows;
}

// The lowest shard below `end` that is not in `done` and not being worked on.
std::optional<std::uint64_t> next_shard(std::uint64_t end, const NumberSet& done, Work work,
                                        const std::vector<Assignment>& running) {
  for (std::uint64_t shard = done.first_missing(0); shard < end;
       shard = done.first_missing(shard + 1)) {
    const bool taken = std::ranges::any_of(running, [&](const Assignment& a) {
      return a.ticket == Ticket{work, shard};
    });
    if (!taken) return shard;
  }
  return std::nullopt;
}

std::optional<Ticket> download_ticket(const PipelineConfig& config, const PipelineState& s,
                                      const std::vector<Assignment>& running) {
  if (!wants_more_rows(config, s)) return std::nullopt;
  const std::uint64_t end =
      std::min<std::uint64_t>(s.shards, s.tokenized.size() + config.queue_shards);
  const auto shard = next_shard(end, s.downloaded, Work::download, running);
  return shard ? std::optional(Ticket{Work::download, *shard}) : std::nullopt;
}

std::optional<Ticket> tokenize_ticket(const PipelineConfig& config, const PipelineState& s,
                                      const std::vector<Assignment>& running) {
  if (!wants_more_rows(config, s)) return std::nullopt;
  const auto shard = next_shard(s.shards, s.tokenized, Work::tokenize, running);
  return shard && s.downloaded.contains(*shard) ? std::optional(Ticket{Work::tokenize, *shard})
                                                : std::nullopt;
}

// A resumed job may hold chunks of a corpus whose shards are not admitted yet.
bool can_train(const PipelineState& s) {
  return s.restored && s.visits_trained < s.visits &&
         s.visits_trained % s.chunks < s.chunks_known &&
         s.sealed.contains(s.visits_trained % s.chunks);
}

std::optional<Ticket> train_ticket(const PipelineState& s) {
  if (s.prepared && !s.restored && (s.streams || s.corpus_complete))
    return Ticket{Work::restore, 0};
  if (can_train(s)) return Ticket{Work::train, s.visits_trained};
  return std::nullopt;
}

// ring: one corpus pass, so visit = chunk.
std::optional<std::uint64_t> evictable(const PipelineState& s) {
  if (!s.may_evict || s.sealed.empty() || s.sealed.front() >= s.visits_done) return std::nullopt;
  return s.sealed.front();
}

// The chunk that a visit needs and that is not there, `ahead` visits from the next at most.
std::optional<std::uint64_t> missing_chunk(const PipelineState& s, std::uint64_t ahead) {
  const std::uint64_t end = std::min(s.visits, s.visits_trained + ahead);
  for (std::uint64_t visit = s.visits_trained; visit < end;) {
    const std::uint64_t chunk = visit % s.chunks, missing = s.sealed.first_missing(chunk);
    if (missing < s.chunks)
      return visit + (missing - chunk) < end ? std::optional(missing) : std::nullopt;
    if (s.sealed.first_missing(0) >= s.chunks) return std::nullopt;  // all are there
    visit += s.chunks - chunk;
  }
  return std::nullopt;
}

std::optional<Ticket> extract_ticket(const PipelineConfig& config, const RolePlan& plan,
                                     const PipelineState& s) {
  if (!s.prepared) return s.first_window ? std::optional(Ticket{Work::prepare, 0}) : std::nullopt;
  if (!s.streams && !s.corpus_complete) return std::nullopt;
  const bool trains = !plan.ranks_with(Role::train).empty();
  if (trains && !s.restored) return std::nullopt;  // which chunk is needed next is not known yet
  const std::uint64_t ahead = !trains ? s.visits : plan.split ? config.queue_chunks + 1 : 1;
  const std::optional<std::uint64_t> chunk = missing_chunk(s, ahead);
  if (!chunk || *chunk >= s.chunks_known) return std::nullopt;
  if (s.sealed.size() < s.chunks_allowed) return Ticket{Work::extract, *chunk};
  if (const std::optional<std::uint64_t> old = evictable(s)) return Ticket{Work::evict, *old};
  // A checkpoint was withdrawn: chunks ahead hold the room of one that is needed first.
  if (s.may_evict && *chunk < s.sealed.back()) return Ticket{Work::evict, s.sealed.back()};
  if (trains && !can_train(s) && s.visits_done == s.visits_trained &&
      s.visits_done % s.chunks < s.chunks_known)
    throw ConfigError(
        "disk.max_bytes leaves no room for chunk {} and nothing may be evicted. Raise "
        "disk.max_bytes or lower store.chunk_rows.",
        *chunk);
  return std::nullopt;  // the quota is full: wait for training, or for its checkpoint
}

}  // namespace

std::vector<Assignment> next_assignments(const PipelineConfig& config, const RolePlan& plan,
                                         const PipelineState& state,
                                         const std::vector<Assignment>& running) {
  std::vector<Assignment> all = running;
  std::set<int> taken;
  for (const Assignment& a : running) taken.insert(a.ranks.begin(), a.ranks.end());
  std::vector<Assignment> fresh;
  const auto start = [&](const Ticket& ticket, const std::vector<int>& ranks) {
    fresh.push_back({ticket, ranks});
    all.push_back(fresh.back());
    taken.insert(ranks.begin(), ranks.end());
  };
  const auto collective = [&](Role role, const std::optional<Ticket>& ticket) {
    if (!ticket) return;
    if (ticket->work == Work::evict) return start(*ticket, {});
    const std::vector<int> ranks = plan.ranks_with(role);
    if (std::ranges::none_of(ranks, [&](int r) { return taken.contains(r); }))
      start(*ticket, ranks);
    else
      taken.insert(ranks.begin(), ranks.end());  // kept free until all are
  };
  const auto runs = [&](Role role) {
    return std::ranges::any_of(running,
                               [&](const Assignment& a) { return role_of(a.ticket.work) == role; });
  };
  if (!plan.ranks_with(Role::train).empty() && !runs(Role::train))
    collective(Role::train, train_ticket(state));
  if (!plan.ranks_with(Role::extract).empty() && !runs(Role::extract))
    collective(Role::extract, extract_ticket(config, plan, state));
  for (const Role role : {Role::tokenize, Role::download})
    for (const int rank : plan.ranks_with(role)) {
      if (taken.contains(rank)) continue;
      const auto ticket = role == Role::tokenize ? tokenize_ticket(config, state, all)
                                                 : download_ticket(config, state, all);
      if (ticket) start(*ticket, {rank});
    }
  return fresh;
}

}  // namespace refract
