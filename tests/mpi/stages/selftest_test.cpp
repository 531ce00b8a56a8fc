// What ranks learn of a planted truth together is, to the last digit, what one learns alone.
#include "refract/stages/selftest.hpp"

#include <gtest/gtest.h>

#include "refract/base/error.hpp"
#include "support/planted_truth.hpp"
#include "support/world.hpp"

namespace refract {
namespace {

using test::world;

TEST(SelftestTruth, has_the_same_bytes_on_any_number_of_ranks) {
  TruthTestConfig config = test::small_truth_test();
  config.steps = 40;
  Communicator alone = Communicator::loopback();

  const std::string together = to_json(collective_truth_test(config, world()));

  EXPECT_EQ(together, to_json(collective_truth_test(config, alone)));
}

TEST(SelftestTruth, refuses_more_ranks_than_slices) {
  TruthTestConfig config = test::small_truth_test();
  config.batch_rows = 64;
  config.steps = 1;

  if (world().size() == 1)
    EXPECT_NO_THROW((void)collective_truth_test(config, world()));
  else
    EXPECT_THROW((void)collective_truth_test(config, world()), ConfigError);
}

}  // namespace
}  // namespace refract
