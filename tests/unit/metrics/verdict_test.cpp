#include "refract/metrics/verdict.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace refract {
namespace {

using State = VerdictState;
using Side = VerdictSide;

const Verdict& of(const std::vector<Verdict>& all, std::string_view metric) {
  const auto found = std::ranges::find(all, metric, &Verdict::metric);
  if (found == all.end()) throw std::runtime_error("no verdict of " + std::string(metric));
  return *found;
}

bool has_note(const Verdict& verdict, std::string_view words) {
  return std::ranges::any_of(verdict.notes, [&](const std::string& note) {
    return note.find(words) != std::string::npos;
  });
}

bool is_red(const Verdict& verdict) {
  return verdict.state == State::too_high || verdict.state == State::too_low;
}

MeasuredSae topk(MetricValues values) {
  return {.variant = "topk",
          .d_in = 640,
          .d_sae = 2560,
          .rows = 200'000,
          .values = std::move(values),
          .control = {},
          .chance = {}};
}

const Advice& rules() {
  static const Advice advice = Advice::load("");
  return advice;
}

// --- The research log's table: eight SAEs of 2,560 features on 640 dimensions ---

struct LogRow {
  const char* variant;
  double mse, r2, density, dead_rate, gini, cosine_mean, cosine_p95, cosine_max, l0, gini_alive;
};
constexpr LogRow kLog[] = {
    {"relu", 1.2161, 0.87071, 0.50996, 0, 0.1372, 0.00002, 0.0762, 0.1416, 1305.5, 0.137},
    {"topk", 3.1622, 0.66380, 0.01953, 0.5582, 0.7220, 0.00116, 0.0936, 0.2465, 50, 0.371},
    {"topk", 2.7461, 0.70804, 0.03906, 0.2973, 0.5582, 0.00007, 0.0942, 0.2315, 100, 0.371},
    {"topk", 2.5028, 0.73391, 0.05859, 0.1578, 0.4644, -0.00121, 0.0884, 0.2042, 150, 0.364},
    {"topk", 2.5043, 0.73375, 0.05859, 0.1598, 0.4661, -0.00129, 0.0916, 0.2221, 150, 0.365},
    {"topk", 2.4856, 0.73574, 0.05859, 0.1563, 0.4656, 0.00068, 0.0893, 0.1967, 150, 0.367},
    {"topk", 2.5053, 0.73365, 0.05859, 0.1574, 0.4603, -0.00164, 0.0873, 0.2015, 150, 0.359},
    {"topk", 2.4873, 0.73556, 0.05859, 0.1598, 0.4597, -0.00097, 0.0856, 0.2157, 150, 0.357},
};

std::vector<Verdict> of_log_row(std::size_t number) {
  const LogRow& row = kLog[number - 1];
  MeasuredSae sae = topk({{"mse", row.mse},
                          {"r2", row.r2},
                          {"density", row.density},
                          {"dead_rate", row.dead_rate},
                          {"gini", row.gini},
                          {"gini_alive", row.gini_alive},
                          {"decoder_cosine_mean", row.cosine_mean},
                          {"decoder_cosine_p95", row.cosine_p95},
                          {"decoder_cosine_max", row.cosine_max},
                          {"l0", row.l0}});
  sae.variant = row.variant;
  sae.chance = {
      {"decoder_cosine_mean", 0}, {"decoder_cosine_p95", 0.0650}, {"decoder_cosine_max", 0.205}};
  return verdicts(rules(), sae);
}

TEST(VerdictsOnTheLog, are_good_throughout_for_rows_four_to_eight) {
  for (std::size_t row = 4; row <= 8; ++row) {
    SCOPED_TRACE(row);
    const auto all = of_log_row(row);
    for (const char* metric : {"density", "dead_rate", "gini", "gini_alive"}) {
      EXPECT_EQ(of(all, metric).state, State::good) << metric;
      EXPECT_EQ(of(all, metric).fix, "") << metric;
    }
  }
}

TEST(VerdictsOnTheLog, watch_the_dead_of_row_three) {
  const auto all = of_log_row(3);

  EXPECT_EQ(of(all, "density").state, State::good);
  EXPECT_EQ(of(all, "gini").state, State::good);
  EXPECT_EQ(of(all, "dead_rate").state, State::watch);
  EXPECT_EQ(of(all, "dead_rate").side, Side::above);
}

TEST(VerdictsOnTheLog, find_row_two_too_dead_and_say_to_raise_k) {
  const auto all = of_log_row(2);

  EXPECT_EQ(of(all, "density").state, State::watch);
  EXPECT_EQ(of(all, "density").side, Side::below);
  EXPECT_NE(of(all, "density").fix.find("raise saes[].k"), std::string::npos);
  EXPECT_EQ(of(all, "dead_rate").state, State::too_high);
  for (const char* words : {"Shrink saes[].d_sae", "raise saes[].k", "train.tokens", "AuxK"})
    EXPECT_NE(of(all, "dead_rate").fix.find(words), std::string::npos) << words;
  EXPECT_TRUE(has_note(of(all, "dead_rate"), "density is 0.01953, below what is good"));
  EXPECT_EQ(of(all, "gini").state, State::watch);
  EXPECT_EQ(of(all, "gini").side, Side::above);
  EXPECT_NE(of(all, "gini").fix.find("shrink saes[].d_sae"), std::string::npos);
  EXPECT_TRUE(has_note(of(all, "gini"), "dead_rate is 0.5582, above what is good"));
  // It is the dead rate that moved the Gini.
  EXPECT_EQ(of(all, "gini_alive").state, State::good);
}

TEST(VerdictsOnTheLog, find_row_one_too_dense_and_say_to_raise_l1) {
  const auto all = of_log_row(1);

  EXPECT_EQ(of(all, "density").state, State::too_high);
  for (const char* words : {"raise saes[].penalty.coefficient", "topk"})
    EXPECT_NE(of(all, "density").fix.find(words), std::string::npos) << words;
  EXPECT_EQ(of(all, "dead_rate").state, State::watch);
  EXPECT_EQ(of(all, "dead_rate").side, Side::below);
  EXPECT_TRUE(has_note(of(all, "dead_rate"), "density is 0.51, above what is good"));
  EXPECT_NE(of(all, "dead_rate").fix.find("density"), std::string::npos);
  EXPECT_EQ(of(all, "gini").state, State::watch);
  EXPECT_EQ(of(all, "gini").side, Side::below);
  EXPECT_NE(of(all, "gini").fix.find("raise saes[].penalty.coefficient"), std::string::npos);
}

TEST(VerdictsOnTheLog, find_every_cosine_fine_and_close_to_chance) {
  for (std::size_t row = 1; row <= 8; ++row) {
    SCOPED_TRACE(row);
    const auto all = of_log_row(row);
    for (const char* metric : {"decoder_cosine_mean", "decoder_cosine_p95", "decoder_cosine_max"})
      EXPECT_EQ(of(all, metric).state, State::good) << metric;
    EXPECT_TRUE(has_note(of(all, "decoder_cosine_p95"), "near chance"));
    EXPECT_EQ(of(all, "decoder_cosine_p95").chance, 0.0650);
  }
}

TEST(VerdictsOnTheLog, never_speak_of_a_penalty_to_topk) {
  for (std::size_t row = 2; row <= 8; ++row)
    for (const Verdict& verdict : of_log_row(row))
      EXPECT_EQ(verdict.fix.find("penalty."), std::string::npos) << verdict.fix;
}

// That the log's definitions are ours: density x F = L0, one total variance behind all R2.
TEST(ResearchLog, is_consistent_with_our_definitions) {
  for (const LogRow& row : kLog) {
    EXPECT_NEAR(row.density * 2560, row.l0, 0.02);
    EXPECT_NEAR(row.mse / (1 - row.r2), 9.405876, 5e-4);
    EXPECT_NEAR(row.gini, row.dead_rate + (1 - row.dead_rate) * row.gini_alive, 5e-4);
  }
}

// --- Public SAEs that are in use: no rule may be red for one ---

struct PublicSae {
  const char* name;
  const char* variant;
  std::size_t d_in, d_sae;
  std::uint64_t rows;
  MetricValues values;  // l0 becomes density too
};

std::vector<PublicSae> public_saes() {
  std::vector<PublicSae> all;
  // GPT-2 small, residual, layers 0 to 11 and the last one's output (SAELens, res-jb).
  constexpr std::pair<double, double> kGpt2[] = {
      {10, .999}, {10, .999}, {18, .999}, {23, .999}, {31, .90}, {41, .90}, {51, .90},
      {54, .90},  {60, .90},  {70, .77},  {52, .77},  {56, .77}, {70, .77}};
  for (const auto& [l0, r2] : kGpt2)
    all.push_back({"GPT-2 small", "relu", 768, 24576, 1 << 20, {{"l0", l0}, {"r2", r2}}});
  // Layer 8 at six widths, of which three are as wide as the density rule holds for.
  constexpr double kWidths[] = {.61, .67, .72, .76, .77, .79};
  for (std::size_t i = 0; i < 6; ++i)
    for (const double l0 : {36., 43.})
      all.push_back({"GPT-2 small, layer 8",
                     "relu",
                     768,
                     768ull << i,
                     1 << 20,
                     {{"l0", l0}, {"r2", kWidths[i]}}});
  all.push_back({"GPT-2 small, OpenAI v5", "topk", 768, 32768, 1 << 20, {{"l0", 32}, {"r2", .74}}});
  all.push_back({"Gemma-2B layer 0",
                 "relu",
                 2048,
                 16384,
                 1 << 20,
                 {{"l0", 54}, {"delta_ce", .085}, {"ce_recovered_zero", .991}}});
  all.push_back({"Gemma-2B layer 6",
                 "relu",
                 2048,
                 16384,
                 1 << 20,
                 {{"l0", 53},
                  {"delta_ce", .456},
                  {"ce_recovered_zero", .953},
                  {"dead_rate", 7000. / 16384}}});
  // Pythia-70M: R2, L0, alive of 8,192 tokens, CE increase.
  struct Row {
    double r2, l0, alive, delta_ce;
  };
  constexpr Row kPythia[] = {{.96, 3, .36, .17},   {.92, 59, .41, .24}, {.85, 54, .38, .45},
                             {.96, 108, .27, .55}, {.96, 68, .22, .58}, {.88, 61, .27, .48},
                             {.90, 72, .45, .55}};
  for (const Row& row : kPythia)
    all.push_back({"Pythia-70M residual",
                   "relu",
                   512,
                   32768,
                   8192,
                   {{"l0", row.l0},
                    {"r2", row.r2},
                    {"dead_rate", 1 - row.alive},
                    {"delta_ce", row.delta_ce}}});
  all.push_back({"a gated SAE", "gated", 768, 6144, 10240, {{"dead_rate", .318}}});
  all.push_back({"GPT-4", "topk", 12288, 16 << 20, 1 << 20, {{"dead_rate", .07}}});
  all.push_back({"Gemma-2-2B layer 12",
                 "topk",
                 2304,
                 18432,
                 1 << 20,
                 {{"l0", 32}, {"r2", .784}, {"dead_rate", .001}}});
  // SAEBench's ends.
  for (const double l0 : {20., 640.})
    for (const std::size_t d_sae : {4096, 16384, 65536})
      for (const std::size_t d_in : {768, 2304})
        all.push_back({"SAEBench", "batchtopk", d_in, d_sae, 1 << 20, {{"l0", l0}}});
  return all;
}

TEST(Verdicts, are_never_red_for_an_sae_that_is_in_use) {
  std::size_t judged = 0, applicable = 0;
  for (const PublicSae& one : public_saes()) {
    MeasuredSae sae{one.variant, one.d_in, one.d_sae, one.rows, one.values, {}, {}};
    if (const auto l0 = sae.values.find("l0"); l0 != sae.values.end())
      sae.values["density"] = l0->second / static_cast<double>(one.d_sae);
    for (const Verdict& verdict : verdicts(rules(), sae)) {
      ++judged;
      applicable += verdict.state != State::not_applicable ? 1 : 0;
      EXPECT_FALSE(is_red(verdict)) << one.name << ", " << one.d_sae << " features, "
                                    << verdict.metric << " " << verdict.value;
    }
  }
  EXPECT_GE(judged, 80U);
  EXPECT_GE(applicable, 20U);
}

TEST(Verdicts, say_which_published_saes_keep_a_value_from_being_red) {
  MeasuredSae sae = topk({{"dead_rate", 0.4}});

  const Verdict verdict = of(verdicts(rules(), sae), "dead_rate");

  EXPECT_EQ(verdict.state, State::watch);
  EXPECT_TRUE(has_note(verdict, "published SAEs show up to 0.428"));
  EXPECT_NE(verdict.field.find("Gemma-2B"), std::string::npos);
}

// --- Validity ---

TEST(Verdicts, do_not_apply_where_a_dictionary_is_wider_than_the_rule_knows) {
  MeasuredSae sae = topk({{"density", 0.001}});
  sae.d_sae = 640 * 8;
  EXPECT_EQ(of(verdicts(rules(), sae), "density").state, State::too_low);
  sae.d_sae += 640;

  const Verdict verdict = of(verdicts(rules(), sae), "density");

  EXPECT_EQ(verdict.state, State::not_applicable);
  EXPECT_TRUE(has_note(verdict, "d_sae / d_in 2 to 8, here 9"));
  EXPECT_TRUE(has_note(verdict, "look at L0"));
  EXPECT_EQ(verdict.fix, "");
}

TEST(Verdicts, do_not_call_features_dead_on_few_rows) {
  MeasuredSae sae = topk({{"dead_rate", 0.9}});
  sae.rows = 49'999;

  const Verdict verdict = of(verdicts(rules(), sae), "dead_rate");

  EXPECT_EQ(verdict.state, State::not_applicable);
  EXPECT_TRUE(has_note(verdict, "50000 rows or more, here 49999"));
  EXPECT_TRUE(has_note(verdict, "3 / N"));
}

TEST(Verdicts, are_given_of_what_was_measured_alone) {
  EXPECT_TRUE(verdicts(rules(), topk({})).empty());
  EXPECT_EQ(verdicts(rules(), topk({{"mse", 1}, {"pca.r2", 0.5}, {"gini", 0.5}})).size(), 1U);
}

TEST(Verdicts, of_no_number_is_none) {
  const Verdict verdict = of(verdicts(rules(), topk({{"gini", std::nan("")}})), "gini");

  EXPECT_EQ(verdict.state, State::not_applicable);
}

// --- The frozen-random control ---

TEST(Verdicts, are_not_red_where_the_control_is_as_red) {
  MeasuredSae sae = topk({{"dead_rate", 0.6}});
  EXPECT_EQ(of(verdicts(rules(), sae), "dead_rate").state, State::too_high);
  sae.control = {{"dead_rate", 0.29}};
  EXPECT_EQ(of(verdicts(rules(), sae), "dead_rate").state, State::too_high);
  sae.control = {{"dead_rate", 0.5}};

  const Verdict verdict = of(verdicts(rules(), sae), "dead_rate");

  EXPECT_EQ(verdict.state, State::watch);
  EXPECT_EQ(verdict.control, 0.5);
  EXPECT_TRUE(has_note(verdict, "the frozen-random control shows 0.5"));
  EXPECT_NE(verdict.fix, "");
}

// The control has the SAE's own L0, so it would excuse every density.
TEST(Verdicts, of_density_are_not_excused_by_the_control) {
  MeasuredSae sae = topk({{"density", 0.5}});
  sae.control = {{"density", 0.5}};

  EXPECT_EQ(of(verdicts(rules(), sae), "density").state, State::too_high);
}

// --- Comparisons ---

TEST(Verdicts, of_r2_watch_below_pca_at_the_same_l0) {
  MeasuredSae sae = topk({{"r2", 0.7}, {"pca_topk.r2", 0.6}});
  sae.control = {{"r2", 0.4}};
  EXPECT_EQ(of(verdicts(rules(), sae), "r2").state, State::good);
  sae.values["pca_topk.r2"] = 0.75;

  const Verdict verdict = of(verdicts(rules(), sae), "r2");

  EXPECT_EQ(verdict.state, State::watch);
  EXPECT_EQ(verdict.side, Side::below);
  EXPECT_TRUE(has_note(verdict, "below pca_topk.r2, which is 0.75"));
  EXPECT_NE(verdict.fix.find("saes[].k"), std::string::npos);
}

TEST(Verdicts, of_r2_are_red_below_what_no_training_reaches) {
  MeasuredSae sae = topk({{"r2", 0.7}});
  sae.control = {{"r2", 0.8}};

  EXPECT_EQ(of(verdicts(rules(), sae), "r2").state, State::too_low);
}

TEST(Verdicts, of_r2_are_none_where_pca_was_not_measured) {
  MeasuredSae sae = topk({{"r2", 0.7}});
  sae.control = {{"r2", 0.4}};

  const Verdict verdict = of(verdicts(rules(), sae), "r2");

  EXPECT_EQ(verdict.state, State::not_applicable);
  EXPECT_TRUE(has_note(verdict, "pca_topk.r2 was not measured"));
}

TEST(Verdicts, of_the_ce_increase_are_red_only_beyond_the_controls) {
  MeasuredSae sae = topk({{"delta_ce", 3}});
  EXPECT_EQ(of(verdicts(rules(), sae), "delta_ce").state, State::watch);
  sae.control = {{"delta_ce", 2}};
  EXPECT_EQ(of(verdicts(rules(), sae), "delta_ce").state, State::too_high);
  sae.values["delta_ce"] = 0.05;
  EXPECT_EQ(of(verdicts(rules(), sae), "delta_ce").state, State::good);
}

TEST(Verdicts, of_the_ce_recovered_are_red_below_the_mean_row_unless_the_control_is) {
  MeasuredSae sae = topk({{"ce_recovered_mean", -0.1}});
  EXPECT_EQ(of(verdicts(rules(), sae), "ce_recovered_mean").state, State::too_low);
  EXPECT_EQ(of(verdicts(rules(), sae), "ce_recovered_mean").good, "at least 0");
  sae.control = {{"ce_recovered_mean", -0.5}};
  EXPECT_EQ(of(verdicts(rules(), sae), "ce_recovered_mean").state, State::watch);
}

// --- Bases ---

// Half of the way from chance to 1 is good; at d_in 8 chance itself is high.
TEST(Verdicts, of_the_nearest_neighbour_are_relative_to_chance) {
  MeasuredSae sae = topk({{"nearest_cosine_mean", 0.8}});
  EXPECT_EQ(of(verdicts(rules(), sae), "nearest_cosine_mean").state, State::not_applicable);
  sae.chance = {{"nearest_cosine_mean", 0.14}};
  EXPECT_EQ(of(verdicts(rules(), sae), "nearest_cosine_mean").state, State::watch);
  sae.chance = {{"nearest_cosine_mean", 0.7}};
  EXPECT_EQ(of(verdicts(rules(), sae), "nearest_cosine_mean").state, State::good);
  EXPECT_TRUE(has_note(of(verdicts(rules(), sae), "nearest_cosine_mean"), "near chance"));
}

TEST(Verdicts, of_duplicates_count_them_per_feature) {
  MeasuredSae sae = topk({{"near_duplicates", 25}});
  EXPECT_EQ(of(verdicts(rules(), sae), "near_duplicates").state, State::good);
  sae.values["near_duplicates"] = 26;
  EXPECT_EQ(of(verdicts(rules(), sae), "near_duplicates").state, State::watch);
}

// --- Bounds and texts, of a rule of one's own ---

TEST(Verdicts, include_the_bounds_themselves) {
  const Advice advice = Advice::from_text(
      "advice: 1\n"
      "metrics:\n"
      "  - metric: l0\n"
      "    title: L0\n"
      "    meaning: \"A sentence.\"\n"
      "    id: mine\n"
      "    good: {low: 2, high: 4}\n"
      "    red_below: 1\n"
      "    red_above: 8\n"
      "    field: {source: elsewhere}\n"
      "    too_high: [{for: [relu], do: a}, {for: [topk], do: b}, {do: c}]\n"
      "    too_low: [{for: [relu], do: d}]\n",
      "mine.yaml");
  const std::vector<std::pair<double, State>> expected{
      {0.9, State::too_low}, {1, State::watch}, {1.9, State::watch}, {2, State::good},
      {4, State::good},      {5, State::watch}, {8, State::watch},   {9, State::too_high}};
  for (const auto& [value, state] : expected)
    EXPECT_EQ(verdicts(advice, topk({{"l0", value}})).front().state, state) << value;

  MeasuredSae sae = topk({{"l0", 9}});
  EXPECT_EQ(verdicts(advice, sae).front().fix, "b");
  EXPECT_EQ(verdicts(advice, sae).front().good, "2 to 4");
  EXPECT_EQ(verdicts(advice, sae).front().rule, "mine");
  EXPECT_EQ(verdicts(advice, sae).front().field, "elsewhere");
  EXPECT_EQ(verdicts(advice, sae).front().sentence, "A sentence.");
  sae.variant = "gated";
  EXPECT_EQ(verdicts(advice, sae).front().fix, "c");
  sae.values["l0"] = 0;
  EXPECT_EQ(verdicts(advice, sae).front().fix, "");
}

}  // namespace
}  // namespace refract
