#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "support/world.hpp"

namespace refract {
namespace {

using test::world;

TEST(Communicator, gathers_the_values_of_all_ranks_in_rank_order) {
  const int rank = world().rank();
  const std::vector<std::uint32_t> mine(static_cast<std::size_t>(rank),
                                        static_cast<std::uint32_t>(rank));

  const std::vector<std::uint32_t> all = world().all_gather(std::span<const std::uint32_t>(mine));

  std::vector<std::uint32_t> expected;
  for (int r = 0; r < world().size(); ++r)
    expected.insert(expected.end(), static_cast<std::size_t>(r), static_cast<std::uint32_t>(r));
  EXPECT_EQ(all, expected);
}

TEST(Communicator, gathers_on_any_root_alone) {
  for (int root = 0; root < world().size(); ++root) {
    const std::vector<std::uint32_t> mine(static_cast<std::size_t>(world().rank() + root),
                                          static_cast<std::uint32_t>(world().rank() + 7));

    const std::vector<std::uint32_t> all =
        world().gather(std::span<const std::uint32_t>(mine), root);

    std::vector<std::uint32_t> expected;
    for (int r = 0; r < world().size() && root == world().rank(); ++r)
      expected.insert(expected.end(), static_cast<std::size_t>(r + root),
                      static_cast<std::uint32_t>(r + 7));
    EXPECT_EQ(all, expected);
  }
}

TEST(Communicator, sums_counts_over_all_ranks) {
  const auto rank = static_cast<std::uint64_t>(world().rank());
  std::array<std::uint64_t, 3> values{1, rank, 1ull << 40};

  world().all_reduce_sum(std::span<std::uint64_t>(values));

  const auto size = static_cast<std::uint64_t>(world().size());
  EXPECT_EQ(values[0], size);
  EXPECT_EQ(values[1], size * (size - 1) / 2);
  EXPECT_EQ(values[2], size << 40);
}

TEST(Communicator, finds_the_largest_value) {
  EXPECT_EQ(world().all_reduce_max(static_cast<std::uint64_t>(10 * world().rank() + 3)),
            static_cast<std::uint64_t>(10 * (world().size() - 1) + 3));
}

TEST(Communicator, broadcasts_from_any_root) {
  for (int root = 0; root < world().size(); ++root) {
    std::array<std::uint32_t, 4> values{};
    if (world().rank() == root)
      std::iota(values.begin(), values.end(), static_cast<std::uint32_t>(root));
    std::string text =
        world().rank() == root ? std::string(70'000, 'x') + std::to_string(root) : "other";

    world().broadcast(std::span<std::uint32_t>(values), root);
    world().broadcast_string(text, root);

    EXPECT_EQ(values[3], static_cast<std::uint32_t>(root) + 3);
    EXPECT_EQ(text, std::string(70'000, 'x') + std::to_string(root));
  }
}

TEST(Communicator, splits_into_groups_that_do_not_hear_each_other) {
  const int color = world().rank() % 2;

  Communicator group = world().split(color, world().rank());

  EXPECT_EQ(group.size(), (world().size() + 1 - color) / 2);
  EXPECT_EQ(group.rank(), world().rank() / 2);
  EXPECT_EQ(group.all_reduce_max(static_cast<std::uint64_t>(color)),
            static_cast<std::uint64_t>(color));
}

}  // namespace
}  // namespace refract
