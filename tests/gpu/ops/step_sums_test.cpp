#include "refract/ops/step_sums.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "support/gpu_entries.hpp"

namespace refract {
namespace {

class StepSumsOnGpu : public test::EntriesOnGpu {
 protected:
  struct Shape {
    std::size_t slices, slice_rows, d_out;
  };
  struct How {
    bool aux = false, errors = true;
    std::size_t dead = 1;  // 0: none, 1: any_dead is not given, 2: some
  };

  // Everything is the same to the byte but the sum of values, whose `size` additions in fp64 have
  // another order: each is off by at most 2^-53 of a partial sum, which sum |value| bounds.
  std::size_t compare(const Shape& shape, const How& how) {
    const std::size_t n = shape.slices * shape.slice_rows, width = kErrorSum + shape.d_out;
    const test::EntryLists entries = test::drawn_entries(n, 30, 1), entries_there = upload(entries);
    const Tensor<std::uint8_t> included = test::drawn_flags(n), flags_there = upload(included);
    const Tensor<float> error = test::normal_values({n, shape.d_out}, 2), e_there = upload(error);
    const Tensor<float> aux = test::normal_values({how.aux ? n : 0, shape.d_out}, 3),
                        aux_there = upload(aux);
    const Tensor<std::uint64_t> dead({how.dead == 1 ? 0U : 1U});
    if (how.dead == 2) dead.data()[0] = 5;
    const Tensor<std::uint64_t> dead_there = upload(dead);
    const Tensor<double> out({shape.slices, width}), out_there = upload(out);

    sum_slices({flags_there.cview(), entries_there.view(), e_there.cview(), aux_there.cview(),
                dead_there.cview(), how.errors},
               shape.slice_rows, out_there.view(), stream);
    sum_slices(
        {included.cview(), entries.view(), error.cview(), aux.cview(), dead.cview(), how.errors},
        shape.slice_rows, out.view(), host);

    const Tensor<double> found = download(out_there);
    std::size_t size = 0;
    double magnitude = 0;
    for (const float value : entries.values.span())
      ++size, magnitude += std::abs(static_cast<double>(value));
    for (std::size_t s = 0; s < shape.slices; ++s) {
      double& sum = found.data()[s * width + kActivation];
      EXPECT_NEAR(sum, out.data()[s * width + kActivation],
                  2 * static_cast<double>(size) * 0x1p-53 * magnitude);
      sum = out.data()[s * width + kActivation];
    }
    return test::expect_same_bytes(found, out, "slice sums");
  }
};

TEST_F(StepSumsOnGpu, of_slices_have_the_bytes_of_the_cpu) {
  std::size_t compared = 0;
  for (const Shape shape : {Shape{1, 1, 1}, Shape{3, 1, 31}, Shape{2, 31, 32}, Shape{2, 33, 33},
                            Shape{5, 64, 100}, Shape{2, 65, 33}, Shape{1, 300, 1025}})
    compared += compare(shape, {});
  EXPECT_EQ(compared, 5U + 3 * 35 + 2 * 36 + 2 * 37 + 5 * 104 + 2 * 37 + 1029);
}

TEST_F(StepSumsOnGpu, take_the_auxiliary_error_only_where_features_are_dead) {
  for (const std::size_t dead : {0U, 1U, 2U}) {
    EXPECT_EQ(compare({3, 33, 40}, {.aux = true, .dead = dead}), 3U * 44);
    EXPECT_EQ(compare({3, 33, 40}, {.aux = true, .errors = false, .dead = dead}), 3U * 44);
  }
}

TEST_F(StepSumsOnGpu, of_no_rows_are_none) { EXPECT_EQ(compare({0, 4, 7}, {}), 0U); }

TEST_F(StepSumsOnGpu, of_slices_are_added_in_order) {
  std::size_t compared = 0;
  for (const std::size_t count : {0U, 1U, 33U})
    for (const std::size_t width : {5U, 31U, 33U, 1025U}) {
      const Tensor<double> slices({count, width}), sums({width}), sums_there = upload(sums);
      const CounterRng rng(Purpose::test, {count, width});
      for (std::size_t i = 0; i < slices.size(); ++i) slices.data()[i] = rng.normal(i);
      const Tensor<double> slices_there = upload(slices);

      add_slices(slices_there.cview(), sums_there.view(), stream);
      add_slices(slices.cview(), sums.view(), host);

      compared += test::expect_same_bytes(download(sums_there), sums, "sums");
    }
  EXPECT_EQ(compared, 3U * (5 + 31 + 33 + 1025));
}

// 4,096 sums are staged in shared memory.
TEST_F(StepSumsOnGpu, give_the_loss_that_they_give_on_the_cpu) {
  std::size_t compared = 0;
  for (const std::size_t d_out : {1U, 33U, 4092U, 4093U})
    for (const std::uint64_t included : {0U, 50U}) {
      const Tensor<double> sums({kErrorSum + d_out});
      const CounterRng rng(Purpose::test, {d_out});
      for (std::size_t i = 0; i < sums.size(); ++i)
        sums.data()[i] = i < kErrorSum ? 1e5 * (1 + rng.uniform(i)) : rng.normal(i);
      const Tensor<std::uint64_t> rows({1});
      rows.data()[0] = included;
      const Tensor<double> scalars({kStepScalars}), scalars_there = upload(scalars);
      const Tensor<double> sums_there = upload(sums);
      const Tensor<std::uint64_t> rows_there = upload(rows);
      const LossTerms terms{.aux_coefficient = 1.0 / 32, .l1 = 0.7};

      loss_scalars(sums_there.cview(), rows_there.cview(), terms, scalars_there.view(), stream);
      loss_scalars(sums.cview(), rows.cview(), terms, scalars.view(), host);

      compared += test::expect_same_bytes(download(scalars_there), scalars, "scalars");
      EXPECT_EQ(scalars.data()[kLoss] != 0, included != 0);
    }
  EXPECT_EQ(compared, 8U * kStepScalars);
}

}  // namespace
}  // namespace refract
