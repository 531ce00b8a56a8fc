#include "refract/stages/decoder_geometry.hpp"

#include <gtest/gtest.h>

namespace refract {
namespace {

DecoderGeometry random_geometry(const SaeConfig& config, std::size_t d_in) {
  Communicator alone = Communicator::loopback();
  SharedStop stop(alone);
  const Tensor<float> W = random_decoder(config, d_in);
  return collective_decoder_geometry("SAE 'small'", W.cview(), stop, alone);
}

// reference/analysis.md finding 4: what an untrained dictionary of that shape scores.
TEST(RandomDecoder, of_2560_directions_in_640_dimensions_scores_what_chance_gives) {
  const DecoderGeometry found =
      random_geometry({.name = "small", .hooks = {"blocks.0.hook_resid_post"}, .d_sae = 2560}, 640);

  EXPECT_NEAR(found.cosine_mean, 0, 5e-4);
  EXPECT_NEAR(found.cosine_p95, 0.065, 5e-4);            // 1.645 / sqrt(640)
  EXPECT_NEAR(found.absolute_cosine_p95, 0.0775, 5e-4);  // 1.96 / sqrt(640)
  EXPECT_GT(found.cosine_max, 0.19);
  EXPECT_LT(found.cosine_max, 0.23);
  EXPECT_EQ(found.near_duplicates, 0U);
  EXPECT_GT(found.nearest_p50, 0.1);
}

TEST(RandomDecoder, has_its_own_chance_values_where_the_decoder_is_non_negative) {
  const DecoderGeometry found = random_geometry({.name = "small",
                                                 .hooks = {"blocks.0.hook_resid_post"},
                                                 .d_sae = 600,
                                                 .non_negative_decoder = true},
                                                640);

  EXPECT_NEAR(found.cosine_mean, 0.6366, 2e-3);  // 2 / pi
}

}  // namespace
}  // namespace refract
