#include "refract/ops/row_norm.hpp"

#include "support/gpu_entries.hpp"

namespace refract {
namespace {

using RowNormOnGpu = test::EntriesOnGpu;

TEST_F(RowNormOnGpu, normalises_and_restores_rows_as_the_cpu_does_also_in_place) {
  std::size_t compared = 0;
  for (const std::size_t n : {0U, 1U, 31U, 33U, 300U})
    for (const std::size_t width : {1U, 31U, 32U, 33U, 130U, 1025U})
      for (const bool in_place : {false, true}) {
        const Tensor<float> raw = test::normal_values({n, width}, 1), raw_there = upload(raw);
        const Tensor<float> x = test::normal_values({n, width}, 1), x_there = upload(x);
        const Tensor<float> u({n, width}), u_there = upload(u);
        const Tensor<float>&to = in_place ? x : u, &to_there = in_place ? x_there : u_there;

        normalise_rows(x_there.cview(), to_there.view(), stream);
        normalise_rows(x.cview(), to.view(), host);
        compared += test::expect_same_bytes(download(to_there), to, "u");

        restore_rows(raw_there.cview(), to_there.cview(), u_there.view(), stream);
        restore_rows(raw.cview(), to.cview(), u.view(), host);
        compared += test::expect_same_bytes(download(u_there), u, "x_hat");
      }
  EXPECT_EQ(compared, 4U * 365 * (1 + 31 + 32 + 33 + 130 + 1025));
}

}  // namespace
}  // namespace refract
