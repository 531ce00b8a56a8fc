#include "pipeline/retention.hpp"

#include <gtest/gtest.h>

namespace refract {
namespace {

std::vector<std::uint64_t> kept(const KeepRule& rule, std::uint64_t visits) {
  std::vector<std::uint64_t> all;
  for (std::uint64_t visit = 0; visit < visits; ++visit)
    if (keeps_export(rule, visit, visits)) all.push_back(visit);
  return all;
}

TEST(KeepsExport, spread_keeps_all_of_a_short_run) {
  EXPECT_EQ(kept({.kind = KeepRule::Kind::spread}, 32).size(), 32u);
}

TEST(KeepsExport, spread_keeps_32_of_a_long_run_evenly_and_the_last) {
  for (const std::uint64_t visits : {33u, 64u, 100u, 1000u, 40961u}) {
    const std::vector<std::uint64_t> all = kept({.kind = KeepRule::Kind::spread}, visits);

    ASSERT_EQ(all.size(), 32u) << visits;
    EXPECT_EQ(all.back(), visits - 1);
    for (std::size_t i = 1; i < all.size(); ++i) {
      EXPECT_GE(all[i] - all[i - 1], visits / 32);
      EXPECT_LE(all[i] - all[i - 1], visits / 32 + 1);
    }
  }
}

TEST(KeepsExport, every_m_keeps_each_mth) {
  EXPECT_EQ(kept({.kind = KeepRule::Kind::every, .n = 3}, 8), (std::vector<std::uint64_t>{2, 5}));
}

TEST(KeepsExport, all_keeps_all) {
  EXPECT_EQ(kept({.kind = KeepRule::Kind::all}, 100).size(), 100u);
}

}  // namespace
}  // namespace refract
