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
    PenaltyKind penalty = PenaltyKind::l1;
    bool norms = false;
    std::size_t prefixes = 0;
  };

  // Everything is the same to the byte but the sum of values, whose `size` additions in fp64 have
  // another order: each is off by at most 2^-53 of a partial sum, which sum |value| bounds.
  std::size_t compare(const Shape& shape, const How& how) {
    const std::size_t n = shape.slices * shape.slice_rows,
                      width = kErrorSum + shape.d_out * (how.prefixes > 0 ? 2 : 1);
    const test::EntryLists entries = test::drawn_entries(n, 30, 1), entries_there = upload(entries);
    const Tensor<std::uint8_t> included = test::drawn_flags(n), flags_there = upload(included);
    const Tensor<float> error = test::normal_values({n, shape.d_out}, 2), e_there = upload(error);
    const Tensor<float> aux = test::normal_values({how.aux ? n : 0, shape.d_out}, 3),
                        aux_there = upload(aux);
    const Tensor<std::uint64_t> dead({how.dead == 1 ? 0U : 1U});
    if (how.dead == 2) dead.data()[0] = 5;
    const Tensor<std::uint64_t> dead_there = upload(dead);
    const Tensor<double> out({shape.slices, width}), out_there = upload(out);

    Tensor<float> norms = test::normal_values({how.norms ? 30U : 0U}, 4);
    for (float& norm : norms.span()) norm = std::abs(norm);
    const Tensor<float> norms_there = upload(norms);
    Tensor<double> whole({1});
    whole.data()[0] = 7.25;
    const Tensor<double> whole_there = upload(whole);
    std::vector<Tensor<float>> prefixes, prefixes_there;
    std::vector<TensorView<const float>> views, views_there;
    for (std::size_t p = 0; p < how.prefixes; ++p) {
      prefixes.push_back(test::normal_values({n, shape.d_out}, 5 + p));
      prefixes_there.push_back(upload(prefixes.back()));
      views.push_back(prefixes.back().cview());
      views_there.push_back(prefixes_there.back().cview());
    }
    sum_slices({.included = flags_there.cview(),
                .entries = entries_there.view(),
                .penalised = entries_there.view(),
                .penalty = {.kind = how.penalty, .steepness = 1.5F, .norms = norms_there.cview()},
                .whole_penalty = whole_there.cview(),
                .error = e_there.cview(),
                .aux_error = aux_there.cview(),
                .any_dead = dead_there.cview(),
                .prefix_errors = views_there,
                .errors = how.errors},
               shape.slice_rows, out_there.view(), stream);
    sum_slices({.included = included.cview(),
                .entries = entries.view(),
                .penalised = entries.view(),
                .penalty = {.kind = how.penalty, .steepness = 1.5F, .norms = norms.cview()},
                .whole_penalty = whole.cview(),
                .error = error.cview(),
                .aux_error = aux.cview(),
                .any_dead = dead.cview(),
                .prefix_errors = views,
                .errors = how.errors},
               shape.slice_rows, out.view(), host);

    const Tensor<double> found = download(out_there);
    std::size_t size = 0;
    double magnitude = 0;
    for (const float value : entries.values.span())
      ++size, magnitude += std::abs(static_cast<double>(value)) * (how.norms ? 4 : 1);
    magnitude += 7.25;
    for (std::size_t s = 0; s < shape.slices; ++s) {
      double& sum = found.data()[s * width + kPenaltySum];
      EXPECT_NEAR(sum, out.data()[s * width + kPenaltySum],
                  2 * static_cast<double>(size) * 0x1p-53 * magnitude);
      sum = out.data()[s * width + kPenaltySum];
    }
    return test::expect_same_bytes(found, out, "slice sums");
  }
};

TEST_F(StepSumsOnGpu, of_slices_have_the_bytes_of_the_cpu) {
  std::size_t compared = 0;
  for (const Shape shape : {Shape{1, 1, 1}, Shape{3, 1, 31}, Shape{2, 31, 32}, Shape{2, 33, 33},
                            Shape{5, 64, 100}, Shape{2, 65, 33}, Shape{1, 300, 1025}})
    compared += compare(shape, {});
  EXPECT_EQ(compared, 16 * kErrorSum + 1U + 3 * 31 + 2 * 32 + 2 * 33 + 5 * 100 + 2 * 33 + 1025);
}

TEST_F(StepSumsOnGpu, take_any_penalty_and_the_errors_of_prefixes) {
  std::size_t compared = 0;
  for (const PenaltyKind kind : {PenaltyKind::none, PenaltyKind::l1, PenaltyKind::tanh})
    for (const bool norms : {false, true})
      for (const std::size_t prefixes : {0U, 1U, 3U})
        compared += compare({3, 33, 40}, {.penalty = kind, .norms = norms, .prefixes = prefixes});
  EXPECT_EQ(compared, 6 * 3 * (3 * kErrorSum + 40 + 80 + 80));
}

TEST_F(StepSumsOnGpu, take_the_auxiliary_error_only_where_features_are_dead) {
  for (const std::size_t dead : {0U, 1U, 2U}) {
    EXPECT_EQ(compare({3, 33, 40}, {.aux = true, .dead = dead}), 3 * (kErrorSum + 40));
    EXPECT_EQ(compare({3, 33, 40}, {.aux = true, .errors = false, .dead = dead}),
              3 * (kErrorSum + 40));
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
      for (const LossTerms& terms :
           {LossTerms{.aux_coefficient = 1.0 / 32, .penalty = 0.7},
            LossTerms{.aux_coefficient = 1, .aux_is_relative = false, .count = 0.3},
            LossTerms{.count = 0.3, .count_target = 20}}) {
        loss_scalars(sums_there.cview(), d_out, rows_there.cview(), terms, scalars_there.view(),
                     stream);
        loss_scalars(sums.cview(), d_out, rows.cview(), terms, scalars.view(), host);

        compared += test::expect_same_bytes(download(scalars_there), scalars, "scalars");
        EXPECT_EQ(scalars.data()[kLoss] != 0, included != 0);
      }
    }
  EXPECT_EQ(compared, 24U * kStepScalars);
}

}  // namespace
}  // namespace refract
