#include "refract/pipeline/schedule.hpp"

#include <gtest/gtest.h>

#include "refract/base/error.hpp"

namespace refract {
namespace {

using Work = Ticket::Work;
const std::set<Role> kBoth{Role::extract, Role::train};

// Plays tickets until none is left; returns them. `quota` chunks fit the disk.
std::vector<Ticket> play(ChunkProgress p, std::uint64_t quota, const std::set<Role>& roles) {
  std::vector<Ticket> tickets;
  while (true) {
    p.free_chunks = quota > p.sealed.size() ? quota - p.sealed.size() : 0;
    const std::optional<Ticket> ticket = next_ticket(p, roles);
    if (!ticket) return tickets;
    tickets.push_back(*ticket);
    if (ticket->work == Work::extract) p.sealed.insert(ticket->index);
    if (ticket->work == Work::evict) p.sealed.erase(ticket->index);
    if (ticket->work == Work::train) ++p.visits_done;
    if (tickets.size() > 100) return tickets;
  }
}

ChunkProgress fresh(std::uint64_t chunks) {
  return {.chunks = chunks, .visits = chunks, .sealed = {}, .visits_done = 0, .may_evict = true, .free_chunks = 0};
}

TEST(Schedule, alternates_extraction_and_training_when_roles_are_fused) {
  const std::vector<Ticket> tickets = play(fresh(2), 9, kBoth);

  EXPECT_EQ(tickets, (std::vector<Ticket>{{Work::extract, 0}, {Work::train, 0}, {Work::extract, 1}, {Work::train, 1}}));
}

TEST(Schedule, evicts_the_oldest_trained_chunk_when_the_quota_is_full) {
  const std::vector<Ticket> tickets = play(fresh(3), 1, kBoth);

  EXPECT_EQ(tickets, (std::vector<Ticket>{{Work::extract, 0}, {Work::train, 0}, {Work::evict, 0}, {Work::extract, 1},
                                          {Work::train, 1}, {Work::evict, 1}, {Work::extract, 2}, {Work::train, 2}}));
}

TEST(Schedule, never_evicts_a_chunk_that_was_not_trained) {
  ChunkProgress p = fresh(3);
  p.sealed = {1};

  EXPECT_THROW((void)next_ticket(p, kBoth), ConfigError);
}

TEST(Schedule, runs_ahead_within_the_quota_with_the_extract_role_alone) {
  const std::vector<Ticket> tickets = play(fresh(3), 2, {Role::extract});

  EXPECT_EQ(tickets, (std::vector<Ticket>{{Work::extract, 0}, {Work::extract, 1}}));
}

TEST(Schedule, visits_every_chunk_again_in_each_corpus_pass) {
  ChunkProgress p = fresh(2);
  p.visits = 4;
  p.may_evict = false;

  EXPECT_EQ(play(p, 9, kBoth).size(), 6u);
}

TEST(Schedule, gives_every_role_to_every_rank_when_fused) {
  const RolePlan plan = plan_roles("auto", 3);

  EXPECT_EQ(plan.ranks_with(Role::train), (std::vector<int>{0, 1, 2}));
  EXPECT_THROW((void)plan_roles("diagonal", 3), ConfigError);
}

}  // namespace
}  // namespace refract
