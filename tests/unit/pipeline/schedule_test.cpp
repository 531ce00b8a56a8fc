#include "refract/pipeline/schedule.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "refract/base/error.hpp"

namespace refract {
namespace {

using Work = Ticket::Work;

constexpr std::uint64_t kChunkRows = 100;

struct Job {
  PipelineConfig config;
  RolePlan plan;
  PipelineState state;
  std::uint64_t rows_per_shard = 100;
  std::uint64_t window = 1;         // shards
  std::uint64_t wanted_chunks = 0;  // streams
  std::uint64_t corpus_passes = 1;
};

Job job(const std::string& layout, int ranks, std::uint64_t shards, std::uint64_t quota) {
  Job job;
  job.config.layout = layout;
  job.plan = plan_roles(job.config, ranks, 2);
  job.state.shards = shards;
  job.state.chunk_rows = kChunkRows;
  job.state.may_evict = true;
  job.state.chunks_allowed = quota;
  return job;
}

// What the coordinator derives from its corpus.
void admit(Job& job) {
  PipelineState& s = job.state;
  std::uint64_t admitted = 0;
  while (s.tokenized.contains(admitted)) ++admitted;
  const std::uint64_t whole = admitted == s.shards ? admitted : admitted / job.window * job.window;
  s.rows = whole * job.rows_per_shard;
  s.first_window = whole > 0;
  const std::uint64_t wanted = job.wanted_chunks * kChunkRows;
  s.streams = wanted > 0;
  s.corpus_complete = admitted == s.shards || (s.streams && s.rows >= wanted);
  if (!s.streams && !s.corpus_complete) return;
  s.chunks = s.streams && !s.corpus_complete
                 ? job.wanted_chunks
                 : std::min(s.rows, s.streams ? wanted : s.rows) / kChunkRows;
  s.chunks_known = std::min(s.chunks, s.rows / kChunkRows);
  s.visits = s.chunks * job.corpus_passes;
}

void apply(Job& job, const Ticket& ticket) {
  PipelineState& s = job.state;
  switch (ticket.work) {
    case Work::download: s.downloaded.insert(ticket.index); break;
    case Work::tokenize: s.tokenized.insert(ticket.index); break;
    case Work::prepare: s.prepared = true; break;
    case Work::extract: s.sealed.insert(ticket.index); break;
    case Work::restore: s.restored = true; break;
    case Work::train:
      s.visits_done = s.visits_trained++;  // one checkpoint at a time is on its way
      break;
    case Work::evict: s.sealed.erase(ticket.index); break;
  }
  admit(job);
}

// What a ticket needs is there, and what it makes is not.
void expect_possible(const Ticket& ticket, const PipelineState& state) {
  const std::uint64_t i = ticket.index;
  switch (ticket.work) {
    case Work::tokenize: EXPECT_TRUE(state.downloaded.contains(i)) << "shard " << i; break;
    case Work::extract: EXPECT_FALSE(state.sealed.contains(i)) << "chunk " << i; break;
    case Work::train: EXPECT_TRUE(state.sealed.contains(i % state.chunks)) << "visit " << i; break;
    case Work::evict: EXPECT_LT(i, state.visits_done) << "evicted before it was trained"; break;
    case Work::download:
    case Work::prepare:
    case Work::restore: break;
  }
}

// Plays the job with tickets that finish, and checkpoints that reach the ledger, in a drawn order,
// checking what must always hold; returns the tickets as started.
std::vector<Ticket> play(Job& job, unsigned seed) {
  std::mt19937 draw(seed);
  std::vector<Assignment> running;
  std::vector<Ticket> started;
  for (int round = 0; round < 10'000; ++round) {
    bool evicted = false;
    for (const Assignment& a : next_assignments(job.config, job.plan, job.state, running)) {
      started.push_back(a.ticket);
      expect_possible(a.ticket, job.state);
      if (a.ticket.work == Work::evict) {
        apply(job, a.ticket);
        evicted = true;
        continue;
      }
      for (const Assignment& other : running)
        for (const int rank : a.ranks)
          EXPECT_EQ(std::ranges::count(other.ranks, rank), 0)
              << "rank " << rank << " has two tickets";
      running.push_back(a);
    }
    if (evicted) continue;
    const bool pending = job.state.visits_done < job.state.visits_trained;
    if (running.empty() && !pending) return started;
    EXPECT_LE(job.state.sealed.size(), job.state.chunks_allowed);
    const std::size_t i = draw() % (running.size() + (pending ? 1 : 0));
    if (i == running.size()) {
      ++job.state.visits_done;
      continue;
    }
    const Ticket ticket = running[i].ticket;
    running.erase(running.begin() + static_cast<std::ptrdiff_t>(i));
    apply(job, ticket);
  }
  ADD_FAILURE() << "the job does not end";
  return started;
}

std::vector<std::uint64_t> indices(const std::vector<Ticket>& tickets, Work work) {
  std::vector<std::uint64_t> all;
  for (const Ticket& ticket : tickets)
    if (ticket.work == work) all.push_back(ticket.index);
  return all;
}

std::vector<std::uint64_t> from_zero(std::uint64_t count) {
  std::vector<std::uint64_t> all(count);
  std::iota(all.begin(), all.end(), std::uint64_t{0});
  return all;
}

std::vector<Ticket> only(const std::vector<Ticket>& tickets, std::set<Work> kinds) {
  std::vector<Ticket> some;
  std::ranges::copy_if(tickets, std::back_inserter(some),
                       [&](const Ticket& t) { return kinds.contains(t.work); });
  return some;
}

TEST(Schedule, alternates_extraction_and_training_when_roles_are_fused) {
  Job two = job("fused", 1, 2, 9);

  EXPECT_EQ(play(two, 1), (std::vector<Ticket>{{Work::download, 0},
                                               {Work::tokenize, 0},
                                               {Work::prepare, 0},
                                               {Work::download, 1},
                                               {Work::tokenize, 1},
                                               {Work::restore, 0},
                                               {Work::extract, 0},
                                               {Work::train, 0},
                                               {Work::extract, 1},
                                               {Work::train, 1}}));
}

TEST(Schedule, evicts_the_oldest_trained_chunk_when_the_quota_is_full) {
  Job three = job("fused", 2, 3, 1);

  EXPECT_EQ(only(play(three, 1), {Work::extract, Work::train, Work::evict}),
            (std::vector<Ticket>{{Work::extract, 0},
                                 {Work::train, 0},
                                 {Work::evict, 0},
                                 {Work::extract, 1},
                                 {Work::train, 1},
                                 {Work::evict, 1},
                                 {Work::extract, 2},
                                 {Work::train, 2}}));
}

TEST(Schedule, goes_on_while_a_checkpoint_is_on_its_way_and_evicts_when_it_is_there) {
  Job three = job("fused", 1, 3, 2);
  three.state.prepared = three.state.restored = true;
  three.state.tokenized = three.state.downloaded = {0, 1, 2};
  admit(three);
  const auto next = [&] {
    const auto fresh = next_assignments(three.config, three.plan, three.state, {});
    return fresh.empty() ? std::optional<Ticket>() : fresh.front().ticket;
  };
  three.state.sealed = {0};
  three.state.visits_trained = 1;
  EXPECT_EQ(next(), (Ticket{Work::extract, 1}));

  three.state.sealed = {0, 1};
  EXPECT_EQ(next(), (Ticket{Work::train, 1}));

  three.state.visits_trained = 2;
  three.state.visits_done = 1;
  EXPECT_EQ(next(), (Ticket{Work::evict, 0}));

  three.state.visits_done = 0;
  EXPECT_EQ(next(), std::nullopt) << "the quota is full, and nothing is in the ledger yet";
}

TEST(Schedule, refuses_a_quota_held_by_chunks_of_which_none_may_go) {
  Job three = job("fused", 1, 3, 1);
  three.state.prepared = three.state.restored = true;
  three.state.tokenized = three.state.downloaded = {0, 1, 2};
  admit(three);
  three.state.sealed = {1};
  three.state.may_evict = false;

  EXPECT_THROW((void)next_assignments(three.config, three.plan, three.state, {}), ConfigError);
}

TEST(Schedule, ends_with_every_visit_for_any_layout_rank_count_quota_and_order_of_events) {
  for (const std::string layout : {"fused", "split"})
    for (const int ranks : {2, 3, 4, 7})
      for (const std::uint64_t quota : {1, 2, 9})
        for (const std::uint64_t wanted : {0, 4})
          for (unsigned seed = 0; seed < 20; ++seed) {
            Job many = job(layout, ranks, 7, quota);
            many.wanted_chunks = wanted;
            many.window = 2;
            const std::vector<Ticket> tickets = play(many, seed);
            const std::uint64_t visits = wanted ? wanted : 7;
            EXPECT_EQ(indices(tickets, Work::train), from_zero(visits))
                << layout << ranks << " quota " << quota << " seed " << seed;
            EXPECT_EQ(indices(tickets, Work::extract), from_zero(visits))
                << layout << ranks << " quota " << quota << " seed " << seed;
          }
}

TEST(Schedule, streams_training_before_the_corpus_is_whole_when_its_length_is_given) {
  Job streaming = job("split", 3, 50, 9);
  streaming.wanted_chunks = 4;

  const std::vector<Ticket> tickets = play(streaming, 3);

  EXPECT_LT(only(tickets, {Work::tokenize}).size(), 10u) << "tokenized far more than it trains on";
  EXPECT_EQ(indices(tickets, Work::train), from_zero(4));
}

TEST(Schedule, stops_downloading_when_the_queue_of_shards_is_full) {
  Job slow = job("split", 4, 50, 9);
  slow.config = {.layout = "split",
                 .download_ranks = 1,
                 .tokenize_ranks = 1,
                 .extract_ranks = 1,
                 .train_ranks = 1,
                 .queue_shards = 3};
  slow.plan = plan_roles(slow.config, 4, 2);
  for (int i = 0; i < 9; ++i) {
    const std::vector<Assignment> fresh = next_assignments(slow.config, slow.plan, slow.state, {});
    for (const Assignment& a : fresh)
      if (a.ticket.work == Work::download) apply(slow, a.ticket);
  }

  EXPECT_EQ(slow.state.downloaded.size(), 3u);
}

TEST(Schedule, runs_ahead_of_training_by_the_queue_of_chunks_when_split) {
  Job ahead = job("split", 3, 9, 9);
  ahead.config.queue_chunks = 2;
  ahead.state.prepared = ahead.state.restored = true;
  for (std::uint64_t s = 0; s < 9; ++s)
    ahead.state.downloaded.insert(s), ahead.state.tokenized.insert(s);
  admit(ahead);
  const std::vector<Assignment> training{{{Work::train, 0}, {2}}};
  std::uint64_t extracted = 0;
  for (; extracted < 9; ++extracted) {
    const std::vector<Assignment> fresh =
        next_assignments(ahead.config, ahead.plan, ahead.state, training);
    if (only({fresh.empty() ? Ticket{} : fresh.front().ticket}, {Work::extract}).empty()) break;
    apply(ahead, fresh.front().ticket);
  }

  EXPECT_EQ(extracted, 3u) << "the chunk in training and two ahead";
}

TEST(Schedule, trains_a_resumed_chunk_only_once_the_rows_of_its_shards_have_their_place) {
  Job resumed = job("split", 3, 5, 9);
  resumed.wanted_chunks = 2;
  resumed.state.prepared = resumed.state.restored = true;
  resumed.state.sealed = {0};
  admit(resumed);

  const std::vector<Ticket> tickets = play(resumed, 1);

  const auto train = std::ranges::find(tickets, Ticket{Work::train, 0});
  ASSERT_NE(train, tickets.end());
  EXPECT_NE(std::find(tickets.begin(), train, Ticket{Work::tokenize, 0}), train);
  EXPECT_EQ(indices(tickets, Work::extract), std::vector<std::uint64_t>{1});
}

TEST(Schedule, gives_up_a_chunk_ahead_for_one_that_a_withdrawn_checkpoint_needs_again) {
  Job withdrawn = job("split", 2, 10, 3);
  for (std::uint64_t shard = 0; shard < 10; ++shard) {
    withdrawn.state.downloaded.insert(shard);
    withdrawn.state.tokenized.insert(shard);
  }
  withdrawn.state.prepared = withdrawn.state.restored = true;
  withdrawn.state.sealed = {4, 5, 6};
  withdrawn.state.visits_done = withdrawn.state.visits_trained = 3;
  admit(withdrawn);
  const auto next = [&] {
    std::vector<Ticket> tickets;
    for (const Assignment& a :
         next_assignments(withdrawn.config, withdrawn.plan, withdrawn.state, {}))
      tickets.push_back(a.ticket);
    return tickets;
  };

  EXPECT_EQ(next(), (std::vector<Ticket>{{Work::evict, 6}}));
  apply(withdrawn, {Work::evict, 6});
  EXPECT_EQ(next(), (std::vector<Ticket>{{Work::extract, 3}}));

  const std::vector<Ticket> tickets = play(withdrawn, 1);

  std::vector<std::uint64_t> again(withdrawn.state.visits - 3);
  std::iota(again.begin(), again.end(), 3);
  EXPECT_EQ(indices(tickets, Work::train), again);
}

TEST(Schedule, visits_every_chunk_again_in_each_corpus_pass) {
  Job twice = job("fused", 1, 2, 9);
  twice.corpus_passes = 2;
  twice.state.may_evict = false;

  const std::vector<Ticket> tickets = play(twice, 1);

  EXPECT_EQ(indices(tickets, Work::train), from_zero(4));
  EXPECT_EQ(indices(tickets, Work::extract), from_zero(2));
}

TEST(Schedule, fills_the_quota_and_ends_when_nobody_trains) {
  Job extracting = job("fused", 2, 5, 3);
  for (std::set<Role>& roles : extracting.plan.roles) roles.erase(Role::train);

  EXPECT_EQ(indices(play(extracting, 1), Work::extract), from_zero(3));
}

TEST(RolePlan, prints_ranks_as_ranges) {
  RolePlan plan;
  plan.roles.resize(6);
  for (const int rank : {0, 1, 2, 4}) plan.roles[static_cast<std::size_t>(rank)] = {Role::train};

  EXPECT_NE(print_roles(plan).find("train      ranks 0-2 4\n"), std::string::npos)
      << print_roles(plan);
  EXPECT_LT(print_roles(plan_roles({}, 512, 512)).size(), 200u);
  const std::string one = print_roles(plan_roles({}, 1, 1));
  EXPECT_NE(one.find("train      rank 0\n"), std::string::npos) << one;
}

TEST(RolePlan, gives_every_role_to_every_rank_when_fused) {
  const RolePlan plan = plan_roles({}, 3, 2);

  EXPECT_FALSE(plan.split);
  EXPECT_EQ(plan.ranks_with(Role::train), (std::vector<int>{0, 1, 2}));
}

TEST(RolePlan, splits_by_itself_only_where_four_ranks_have_a_core_each) {
  EXPECT_FALSE(plan_roles({}, 4, 3).split);
  EXPECT_TRUE(plan_roles({}, 4, 4).split);
  EXPECT_FALSE(plan_roles({}, 3, 64).split);
}

TEST(RolePlan, takes_counts_in_the_order_of_the_flow) {
  const RolePlan plan = plan_roles(
      {.download_ranks = 1, .tokenize_ranks = 1, .extract_ranks = 2, .train_ranks = 3}, 7, 2);

  EXPECT_EQ(plan.ranks_with(Role::extract), (std::vector<int>{2, 3}));
  EXPECT_EQ(plan.ranks_with(Role::train), (std::vector<int>{4, 5, 6}));
}

TEST(RolePlan, refuses_what_does_not_fit) {
  EXPECT_THROW((void)plan_roles({.layout = "diagonal"}, 3, 2), ConfigError);
  EXPECT_THROW((void)plan_roles({.layout = "split"}, 1, 2), ConfigError);
  EXPECT_THROW((void)plan_roles({.layout = "split", .extract_ranks = 2}, 4, 2), ConfigError);
  EXPECT_THROW((void)plan_roles({.layout = "fused", .train_ranks = 2}, 4, 2), ConfigError);
  EXPECT_THROW((void)plan_roles({.layout = "split",
                                 .download_ranks = 1,
                                 .tokenize_ranks = 1,
                                 .extract_ranks = 1,
                                 .train_ranks = 1},
                                5, 2),
               ConfigError);
}

}  // namespace
}  // namespace refract
