#include "refract/ops/row_map.hpp"

#include <cmath>

#include "support/gpu_entries.hpp"

namespace refract {
namespace {

using RowMapOnGpu = test::EntriesOnGpu;

// cuBLAS adds in an order of its own: 1e-5 of the largest sum a row may have.
TEST_F(RowMapOnGpu, maps_rows_as_the_cpu_does_within_rounding) {
  std::size_t compared = 0;
  for (const std::size_t n : {0U, 1U, 33U, 513U})
    for (const std::size_t K : {1U, 33U, 70U})
      for (const bool shifts : {false, true}) {
        const std::size_t N = K == 33 ? 40 : K;
        const Tensor<float> W = test::normal_values({N, K}, 1),
                            before = test::normal_values({shifts ? K : 0}, 2),
                            after = test::normal_values({shifts ? N : 0}, 3),
                            x = test::normal_values({n, K}, 4), x_there = upload(x);
        const Tensor<float> y({n, N}), y_there = upload(y);
        RowMap here(W.cview(), before.cview(), after.cview(), {}),
            there(W.cview(), before.cview(), after.cview(), gpu);

        there.run(x_there.cview(), y_there.view(), stream);
        here.run(x.cview(), y.view(), host);

        const Tensor<float> found = download(y_there);
        for (std::size_t i = 0; i < y.size(); ++i, ++compared)
          EXPECT_NEAR(found.data()[i], y.data()[i], 1e-5 * (1 + std::sqrt(double(K)) * 4)) << i;
      }
  EXPECT_GT(compared, 100'000U);
}

TEST_F(RowMapOnGpu, gives_a_row_the_same_bytes_whatever_stands_beside_it) {
  const Tensor<float> W = test::normal_values({40, 40}, 1), none({0}),
                      x = test::normal_values({600, 40}, 4), x_there = upload(x),
                      all_there({600, 40}, gpu);
  RowMap map(W.cview(), none.cview(), none.cview(), gpu);
  map.run(x_there.cview(), all_there.view(), stream);
  const Tensor<float> all = download(all_there);
  std::size_t compared = 0;
  for (const auto& [first, count] :
       {std::pair<std::size_t, std::size_t>{0, 1}, {7, 30}, {500, 100}}) {
    const Tensor<float> some_there({count, 40}, gpu);

    map.run(x_there.cview().rows(first, count), some_there.view(), stream);

    const Tensor<float> some = download(some_there);
    compared += test::expect_same_bytes(some.data(), all.data() + first * 40, some.size(), "y");
  }
  EXPECT_EQ(compared, 131U * 40);
}

}  // namespace
}  // namespace refract
