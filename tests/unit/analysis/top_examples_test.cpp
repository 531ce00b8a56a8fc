#include "refract/analysis/top_examples.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <vector>

#include "refract/base/random.hpp"

namespace refract {
namespace {

// Few documents and few distinct activations, so that caps and ties are met all the time.
std::vector<Example> random_examples(std::uint64_t seed, std::uint32_t count) {
  const CounterRng rng(Purpose::test, {seed});
  std::vector<Example> examples;
  for (std::uint32_t i = 0; i < count; ++i) {
    const TextRow row{.context = i / 16, .document = rng.below(2 * i, 12), .position = i % 16};
    examples.push_back({row, static_cast<float>(rng.below(2 * i + 1, 40))});
  }
  return examples;
}

std::vector<Example> by_sorting(std::vector<Example> examples, std::size_t limit,
                                std::size_t per_document) {
  std::sort(examples.begin(), examples.end(), stronger);
  std::map<std::uint64_t, std::size_t> seen;
  std::vector<Example> top;
  for (const Example& e : examples)
    if (top.size() < limit && seen[e.row.document]++ < per_document) top.push_back(e);
  return top;
}

void expect_same(const std::vector<Example>& a, const std::vector<Example>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].activation, b[i].activation);
    EXPECT_EQ(a[i].row.context, b[i].row.context);
    EXPECT_EQ(a[i].row.position, b[i].row.position);
  }
}

TEST(TopExamples, keeps_what_sorting_everything_would_keep_in_any_order_of_arrival) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    auto examples = random_examples(seed, 200);
    const auto expected = by_sorting(examples, 20, 3);
    const auto order = permutation(200, CounterRng(Purpose::test, {seed, 1}));
    TopExamples forward(20, 3), shuffled(20, 3);

    for (const Example& e : examples) forward.add(e);
    for (const std::uint32_t i : order) shuffled.add(examples[i]);

    expect_same(forward.sorted(), expected);
    expect_same(shuffled.sorted(), expected);
  }
}

TEST(TopExamples, keeps_at_most_three_of_one_document) {
  TopExamples top(10, 3);

  for (std::uint32_t i = 0; i < 8; ++i)
    top.add({{.context = 0, .document = 5, .position = i}, static_cast<float>(i)});
  top.add({{.context = 1, .document = 6, .position = 0}, 0.5F});

  const auto kept = top.sorted();
  ASSERT_EQ(kept.size(), 4u);
  EXPECT_EQ(kept[0].activation, 7.0F);
  EXPECT_EQ(kept[2].activation, 5.0F);
  EXPECT_EQ(kept[3].row.document, 6u);
}

TEST(TopExamples, of_limit_zero_stay_empty) {
  TopExamples none(0, 3);

  none.add({{}, 1.0F});

  EXPECT_TRUE(none.sorted().empty());
}

}  // namespace
}  // namespace refract
