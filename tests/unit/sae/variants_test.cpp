// What every variant promises, and what is special to one.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "refract/base/parallel.hpp"
#include "support/one_rank_step.hpp"
#include "unit/sae/trained_cases.hpp"

namespace refract {
namespace {

using namespace testing_support;

class EveryVariant : public ::testing::TestWithParam<std::string_view> {
 protected:
  [[nodiscard]] Problem problem() const {
    return make_problem(10, 130, 5, 48, 6, true, 7, std::string(GetParam()));
  }
};

TEST_P(EveryVariant, changes_nothing_for_a_batch_without_an_included_row) {
  Problem empty = problem();
  std::ranges::fill(empty.included, std::uint8_t{0});
  const SaeParameters before = copy(empty.state.parameters);
  const std::vector<std::uint64_t> age(empty.state.age.span().begin(),
                                       empty.state.age.span().end());
  OneRank rank;

  const VisitLog log = rank.step(empty, empty.batch());

  EXPECT_EQ(empty.state.trained_rows, 0u);
  EXPECT_EQ(log.squared_error, 0);
  EXPECT_TRUE(std::ranges::equal(empty.state.age.span(), age));
  EXPECT_TRUE(std::ranges::equal(before.W_enc.span(), empty.state.parameters.W_enc.span()));
  EXPECT_TRUE(std::ranges::equal(before.threshold.span(), empty.state.parameters.threshold.span()));
}

TEST_P(EveryVariant, lowers_its_loss_when_it_trains) {
  Problem training = problem();
  training.config.optimizer.lr = 3e-3;
  OneRank rank(200);
  const double first = rank.step(training, training.batch()).loss;
  double last = 0;
  for (int step = 1; step < 200; ++step) last = rank.step(training, training.batch()).loss;

  EXPECT_LT(last, 0.7 * first);
}

TEST_P(EveryVariant, keeps_the_decoder_non_negative_with_unit_rows_when_asked) {
  Problem training = problem();
  training.config.non_negative_decoder = true;
  std::vector<float> median(10, 0.1F);
  training.state = initial_state(training.config, *training.variant, 10, median);
  training.config.optimizer = {.lr = 0.05, .warmup = 0, .decay = 0};
  OneRank rank(50, 0.0);
  for (std::uint64_t step = 0; step < 50; ++step) (void)rank.step(training, training.batch());

  const SaeParameters& p = training.state.parameters;
  EXPECT_GE(*std::ranges::min_element(p.W_dec.span()), 0.0F);
  EXPECT_GT(std::ranges::count(p.W_dec.span(), 0.0F), 10) << "no entry ever met the bound";
  for (std::size_t f = 0; f < p.d_sae(); ++f) {
    double squared = 0;
    for (const float value : p.W_dec.row(f)) squared += static_cast<double>(value) * value;
    EXPECT_NEAR(squared, 1, 1e-5) << f;
  }
}

INSTANTIATE_TEST_SUITE_P(Table, EveryVariant, ::testing::ValuesIn(variant_names()),
                         [](const auto& each) { return std::string(each.param); });

class EveryCase : public ::testing::TestWithParam<TrainedCase> {};

TEST_P(EveryCase, trains_to_the_same_bytes_with_one_thread_and_two) {
  const int threads = thread_count();
  const auto trained = [&](int with) {
    set_thread_count(with);
    Problem training = problem_of(GetParam(), {10, 7, 130, 48, 6}, true);
    OneRank rank(200, 0.5, "ordered");
    for (int step = 0; step < 200; ++step) (void)rank.step(training, training.batch());
    return std::move(training.state);
  };
  const SaeState one = trained(1), two = trained(2);
  set_thread_count(threads);

  for (const auto& [a, b] : {std::pair{&one.parameters, &two.parameters}, {&one.v, &two.v}}) {
    const auto ours = named_tensors(*a), theirs = named_tensors(*b);
    for (std::size_t i = 0; i < ours.size(); ++i)
      EXPECT_TRUE(std::ranges::equal(ours[i].second.span(), theirs[i].second.span()))
          << ours[i].first;
  }
}

INSTANTIATE_TEST_SUITE_P(Table, EveryCase, ::testing::ValuesIn(trained_cases()),
                         [](const auto& each) { return each.param.name; });

// A step that moves nothing, and how many entries it selected.
std::uint64_t selected_by(Problem& problem, std::vector<std::uint64_t>* per_row = nullptr) {
  problem.config.optimizer.lr = 1e-30;
  OneRank rank;
  (void)rank.step(problem, problem.batch());
  const std::vector<std::uint64_t> counts = entries_of_rows(problem);
  if (per_row) *per_row = counts;
  return std::accumulate(counts.begin(), counts.end(), std::uint64_t{0});
}

TEST(BatchTopK, keeps_k_of_each_included_row_on_average_and_not_of_each) {
  Problem problem = make_problem(10, 130, 5, 48, 6, false, 7, "batchtopk");
  std::vector<std::uint64_t> per_row;

  EXPECT_EQ(selected_by(problem, &per_row),
            5u * static_cast<std::uint64_t>(std::ranges::count(problem.included, 1)));
  EXPECT_NE(*std::ranges::min_element(per_row), *std::ranges::max_element(per_row));
}

TEST(BatchTopK, in_training_mode_selects_k_of_each_included_row_on_average) {
  const Problem problem = make_problem(10, 130, 5, 48, 6, false, 7, "batchtopk");
  SparseActs acts;

  problem.variant->encode_training(problem.state.parameters, problem.x.cview(), problem.included, 0,
                                   acts);

  EXPECT_EQ(acts.values.size(),
            5u * static_cast<std::uint64_t>(std::ranges::count(problem.included, 1)));
  ASSERT_EQ(acts.row_starts.size(), 49u);
  for (std::size_t row = 0; row < 48; ++row)
    if (problem.included[row] == 0) {
      EXPECT_EQ(acts.row_starts[row], acts.row_starts[row + 1]);
    }
}

TEST(BatchTopK, gives_ties_to_the_lower_row_and_then_the_lower_feature) {
  Problem problem = make_problem(4, 8, 1, 12, 2, false, 7, "batchtopk");
  std::ranges::fill(problem.included, std::uint8_t{1});
  std::ranges::fill(problem.state.parameters.W_enc.span(), 0.0F);
  std::ranges::fill(problem.state.parameters.b_enc.span(),
                    0.5F);  // every pre-activation is the same
  std::vector<std::uint64_t> per_row;

  EXPECT_EQ(selected_by(problem, &per_row), 12u);
  EXPECT_EQ(per_row, (std::vector<std::uint64_t>{8, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}));
}

// k N falls among equals behind rows that hold larger values (on several ranks: mpi_stages).
TEST(BatchTopK, gives_the_rest_to_the_first_equals) {
  Problem problem = tied_problem();
  std::vector<std::uint64_t> per_row;

  (void)selected_by(problem, &per_row);

  // 3 x 10 of the batch: the four larger ones of odd rows, then 26 equals: rows 0, 1, 2 have 7
  // each, row 4 gets 5.
  EXPECT_EQ(per_row, (std::vector<std::uint64_t>{7, 8, 7, 0, 5, 1, 0, 1, 0, 1, 0, 0}));
}

TEST(BatchTopK, keeps_all_positive_values_when_there_are_fewer) {
  Problem problem = make_problem(4, 8, 8, 12, 2, false, 7, "batchtopk");
  const SaeParameters p = copy(problem.state.parameters);
  std::uint64_t positive = 0;
  for (std::size_t row = 0; row < 12; ++row)
    for (std::size_t f = 0; f < 8 && problem.included[row] != 0; ++f) {
      double pre = p.b_enc.data()[f];
      for (std::size_t d = 0; d < 4; ++d)
        pre +=
            (double(problem.x.row(row)[d]) - double(p.b_dec.data()[d])) * double(p.W_enc.row(f)[d]);
      positive += pre > 0;
    }

  EXPECT_EQ(selected_by(problem), positive);
  EXPECT_LT(positive, 8u * 10u);
}

TEST(BatchTopK, selects_nothing_and_keeps_its_threshold_when_nothing_is_positive) {
  Problem problem = make_problem(4, 8, 3, 12, 2, false, 7, "batchtopk");
  std::ranges::fill(problem.state.parameters.threshold.span(), 0.75F);
  std::ranges::fill(problem.state.parameters.b_enc.span(), -100.0F);

  EXPECT_EQ(selected_by(problem), 0u);
  OneRank rank;
  const VisitLog log = rank.step(problem, problem.batch());
  EXPECT_EQ(log.l0, 0);
  EXPECT_GT(log.squared_error, 0);
  EXPECT_EQ(problem.state.parameters.threshold.data()[0], 0.75F);
}

TEST(BatchTopK, finds_the_same_entries_when_the_floor_of_candidates_was_too_high) {
  Problem problem = make_problem(10, 130, 5, 48, 6, false, 7, "batchtopk");
  const std::uint64_t expected = selected_by(problem);
  ASSERT_GT(expected, 0u);
  std::ranges::fill(problem.state.parameters.threshold.span(), 1e6F);

  EXPECT_EQ(selected_by(problem), expected);
}

TEST(BatchTopK, sets_its_threshold_to_the_smallest_entry_selected_and_follows_it_slowly) {
  Problem problem = make_problem(10, 130, 5, 48, 6, false, 7, "batchtopk");
  problem.config.optimizer.lr = 1e-30;
  OneRank rank;
  (void)rank.step(problem, problem.batch());
  const float first = problem.state.parameters.threshold.data()[0];
  EXPECT_GT(first, 0.0F);
  for (float& value : problem.x.span()) value *= 2;
  (void)rank.step(problem, problem.batch());
  const float second = problem.state.parameters.threshold.data()[129];

  EXPECT_GT(second, first);
  EXPECT_LT(second, 1.05F * first);
}

TEST(BatchTopK, encodes_with_the_threshold_at_inference) {
  Problem problem = make_problem(10, 130, 5, 48, 6, false, 7, "batchtopk");
  std::ranges::fill(problem.state.parameters.threshold.span(), 1.25F);
  SparseActs acts;

  problem.variant->encode(problem.state.parameters, problem.x.cview(), 0, acts);

  EXPECT_FALSE(acts.values.empty());
  EXPECT_GT(*std::ranges::min_element(acts.values), 1.25F);
}

TEST(Relu, raises_its_penalty_linearly) {
  Problem problem = make_problem(10, 48, 0, 24, 6, false, 7, "relu");
  problem.config.penalty = {.coefficient = 5, .warmup_steps = 10};
  problem.variant = make_variant(problem.config, 10, kDeadAfter);
  problem.config.optimizer.lr = 1e-30;
  OneRank rank;
  const double first = rank.step(problem, problem.batch()).aux_loss;
  const double second = rank.step(problem, problem.batch()).aux_loss;

  EXPECT_NEAR(second, 2 * first, 1e-6 * second);
}

}  // namespace
}  // namespace refract
