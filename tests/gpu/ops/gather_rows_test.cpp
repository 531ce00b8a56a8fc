#include "refract/ops/gather_rows.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "support/gpu_entries.hpp"

namespace refract {
namespace {

using GatherRowsOnGpu = test::EntriesOnGpu;

Tensor<std::uint32_t> drawn_rows(std::size_t n, std::size_t of) {
  Tensor<std::uint32_t> rows({n});
  const CounterRng rng(Purpose::test, {n, of});
  for (std::size_t i = 0; i < n; ++i) rows.data()[i] = static_cast<std::uint32_t>(rng.below(i, of));
  return rows;
}

Tensor<std::byte> drawn_bits(std::size_t rows, std::size_t row_bytes) {
  Tensor<std::byte> bytes({rows, row_bytes});
  const CounterRng rng(Purpose::test, {rows, row_bytes});
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes.data()[i] = static_cast<std::byte>(rng.below(i, 256));
  return bytes;
}

// A NaN has bytes of its own on each device.
std::size_t expect_same_values(const Tensor<float>& found, const Tensor<float>& expected) {
  std::size_t compared = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (std::isnan(expected.data()[i]))
      EXPECT_TRUE(std::isnan(found.data()[i])) << i;
    else
      compared += test::expect_same_bytes(found.data() + i, expected.data() + i, 1, "x");
  }
  return compared;
}

TEST_F(GatherRowsOnGpu, widens_and_scales_any_bits_of_each_type_as_the_cpu_does) {
  std::size_t compared = 0;
  constexpr std::size_t kStored = 37, kColumn = 3;
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16})
    for (const std::size_t n : {0U, 1U, 31U, 33U, 1025U})
      for (const std::size_t width : {1U, 31U, 32U, 33U, 100U}) {
        const Tensor<std::byte> bytes = drawn_bits(kStored, width * byte_size(dtype)),
                                bytes_there = upload(bytes);
        const Tensor<std::uint32_t> rows = drawn_rows(n, kStored), rows_there = upload(rows);
        const Tensor<float> x = test::normal_values({n, width + 5}, 1), x_there = upload(x);

        gather_rows({bytes_there.cview(), dtype, width}, rows_there.cview(), 0.37F, kColumn,
                    x_there.view(), stream);
        gather_rows({bytes.cview(), dtype, width}, rows.cview(), 0.37F, kColumn, x.view(), host);

        compared += expect_same_values(download(x_there), x);
      }
  EXPECT_GT(compared, 500'000U);
}

TEST_F(GatherRowsOnGpu, widens_each_of_the_65536_halves_exactly) {
  const Tensor<std::byte> bytes({256, 512});
  for (std::size_t i = 0; i < 65536; ++i) {
    const auto bits = static_cast<std::uint16_t>(i);
    std::memcpy(bytes.data() + 2 * i, &bits, 2);
  }
  const Tensor<std::uint32_t> rows({256});
  std::iota(rows.data(), rows.data() + 256, 0U);
  const Tensor<std::byte> bytes_there = upload(bytes);
  const Tensor<std::uint32_t> rows_there = upload(rows);
  const Tensor<float> x({256, 256}), x_there = upload(x);

  gather_rows({bytes_there.cview(), DType::f16, 256}, rows_there.cview(), 1.0F, 0, x_there.view(),
              stream);
  gather_rows({bytes.cview(), DType::f16, 256}, rows.cview(), 1.0F, 0, x.view(), host);

  EXPECT_EQ(expect_same_values(download(x_there), x), 65536U - 2 * 1023);
}

TEST_F(GatherRowsOnGpu, takes_the_flags_of_rows_and_narrows_those_that_are_there) {
  std::size_t compared = 0;
  const Tensor<std::uint8_t> flags = test::drawn_flags(37), flags_there = upload(flags);
  for (const bool narrow : {false, true})
    for (const std::size_t n : {0U, 1U, 31U, 32U, 33U, 1023U, 1025U}) {
      const Tensor<std::uint32_t> rows = drawn_rows(n, 37), rows_there = upload(rows);
      const Tensor<std::uint8_t> out({n});
      for (std::size_t i = 0; i < n; ++i) out.data()[i] = i % 2 == 0 ? 1 : 0;
      const Tensor<std::uint8_t> out_there = upload(out);

      gather_flags(flags_there.cview(), rows_there.cview(), narrow, out_there.view(), stream);
      gather_flags(flags.cview(), rows.cview(), narrow, out.view(), host);

      compared += test::expect_same_bytes(download(out_there), out, "flags");
    }
  EXPECT_EQ(compared, 2U * (1 + 31 + 32 + 33 + 1023 + 1025));
}

TEST_F(GatherRowsOnGpu, centres_rows_also_in_place_and_by_nothing) {
  std::size_t compared = 0;
  for (const std::size_t n : {0U, 1U, 33U, 300U})
    for (const std::size_t d_in : {1U, 31U, 32U, 33U, 130U})
      for (const bool in_place : {false, true})
        for (const bool offset_given : {false, true}) {
          const Tensor<float> x = test::normal_values({n, d_in}, 1), x_there = upload(x);
          const Tensor<float> offset = test::normal_values({offset_given ? d_in : 0}, 2),
                              offset_there = upload(offset);
          const Tensor<float> out({n, d_in}), out_there = upload(out);
          const Tensor<float>&to = in_place ? x : out, &to_there = in_place ? x_there : out_there;

          centre_rows(x_there.cview(), offset_there.cview(), to_there.view(), stream);
          centre_rows(x.cview(), offset.cview(), to.view(), host);

          compared += test::expect_same_bytes(download(to_there), to, "out");
        }
  EXPECT_EQ(compared, 4U * 334 * (1 + 31 + 32 + 33 + 130));
}

}  // namespace
}  // namespace refract
