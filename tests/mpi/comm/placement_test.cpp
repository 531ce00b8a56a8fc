#include "refract/comm/placement.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "support/world.hpp"

namespace refract {
namespace {

using test::world;
using Cores = std::vector<std::vector<int>>;

TEST(Placement, bound_ranks_use_their_own_cores) {
  const Cores cores{{0, 1, 2, 3}, {4, 5, 6, 7}};

  EXPECT_EQ(fair_threads(cores, 0), 4);
  EXPECT_EQ(fair_threads(cores, 1), 4);
}

TEST(Placement, unbound_ranks_share) {
  const std::vector<int> all{0, 1, 2, 3, 4, 5, 6, 7};

  EXPECT_EQ(fair_threads(Cores{all}, 0), 8);
  EXPECT_EQ(fair_threads(Cores{all, all}, 1), 4);
  EXPECT_EQ(fair_threads(Cores{all, all, all}, 2), 2);
}

TEST(Placement, a_rank_has_a_thread_although_ranks_outnumber_cores) {
  const std::vector<int> both{0, 1};

  EXPECT_EQ(fair_threads(Cores{both, both, both, both}, 3), 1);
}

TEST(Placement, cores_that_overlap_in_part_are_divided_in_part) {
  const Cores cores{{0, 1, 2, 3}, {2, 3, 4, 5}};

  EXPECT_EQ(fair_threads(cores, 0), 3);  // two of its own, half of two
}

TEST(Placement, says_what_was_chosen) {
  const Placement laptop{
      .ranks = 4, .hosts = 1, .local_ranks = 4, .local_cores = 2, .fair_threads = 1};
  const Placement cluster{
      .ranks = 8, .hosts = 2, .local_ranks = 4, .local_cores = 64, .fair_threads = 16};

  EXPECT_EQ(laptop.text(1), "4 ranks x 1 thread on 1 host (2 cores, oversubscribed: 4 > 2)");
  EXPECT_EQ(cluster.text(16), "8 ranks x 16 threads on 2 hosts (64 cores each)");
}

TEST(Placement, never_gives_more_threads_than_the_host_has_cores) {
  const Placement placement = collective_placement(world());

  EXPECT_EQ(placement.ranks, world().size());
  EXPECT_EQ(placement.hosts, 1);
  EXPECT_EQ(placement.local_ranks, world().size());
  EXPECT_TRUE(placement.fair_threads * placement.local_ranks <= placement.local_cores ||
              placement.fair_threads == 1);
}

}  // namespace
}  // namespace refract
