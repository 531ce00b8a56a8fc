// A decoder's pairs divided over ranks give the geometry of one, on every rank.
#include "refract/stages/decoder_geometry.hpp"

#include <gtest/gtest.h>

#include "refract/base/random.hpp"
#include "support/world.hpp"

namespace refract {
namespace {

using test::world;

TEST(DecoderGeometryTogether, is_that_of_one_rank_on_every_rank) {
  std::size_t compared = 0;
  for (const std::size_t features : {1, 2, 700, 1500}) {
    Tensor<float> W(Shape{features, 5});
    const CounterRng rng(Purpose::test, {features});
    for (std::size_t i = 0; i < W.size(); ++i)
      W.data()[i] = static_cast<float>(static_cast<int>(rng.below(i, 9)) - 4);  // many ties
    Communicator alone = Communicator::loopback();
    SharedStop stop(world()), stop_alone(alone);

    const DecoderGeometry together =
        collective_decoder_geometry("SAE 'small'", W.cview(), stop, world());

    EXPECT_TRUE(together ==
                collective_decoder_geometry("SAE 'small'", W.cview(), stop_alone, alone))
        << features;
    if (features > 2) {
      EXPECT_GT(together.near_duplicates, 1000U);
    }
    ++compared;
  }
  EXPECT_EQ(compared, 4U);
}

}  // namespace
}  // namespace refract
