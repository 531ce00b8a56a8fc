#include "refract/ops/weight_mean.hpp"

#include <gtest/gtest.h>

#include "refract/ops/step_sums.hpp"
#include "support/gpu_entries.hpp"

namespace refract {
namespace {

class WeightMeanOnGpu : public test::EntriesOnGpu {};

TEST_F(WeightMeanOnGpu, follows_the_weights_to_the_bytes_of_the_cpu) {
  std::size_t compared = 0;
  for (const std::size_t size : {0U, 1U, 31U, 32U, 33U, 1023U, 1025U})
    for (const bool finite : {true, false}) {
      const Tensor<float> mean = test::normal_values({size}, 2),
                          before = test::normal_values({size}, 2);
      const Tensor<float> mean_there = upload(mean);
      const Tensor<double> scalars({kStepScalars});
      scalars.data()[kFinite] = finite ? 1 : 0;
      const Tensor<double> scalars_there = upload(scalars);

      for (std::uint64_t update = 1; update <= 3; ++update) {
        const Tensor<float> w = test::normal_values({size}, 10 + update);
        const Tensor<float> w_there = upload(w);
        const float rate = weight_mean_rate(0.99, update);
        follow_weights(w_there.cview(), rate, scalars_there.cview(), mean_there.view(), stream);
        follow_weights(w.cview(), rate, scalars.cview(), mean.view(), host);
      }

      compared += test::expect_same_bytes(download(mean_there), mean, "mean");
      if (!finite) test::expect_same_bytes(mean, before, "refused");
    }
  EXPECT_EQ(compared, 2U * (1 + 31 + 32 + 33 + 1023 + 1025));
}

}  // namespace
}  // namespace refract
