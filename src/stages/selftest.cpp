#include "refract/stages/selftest.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "refract/base/activity.hpp"
#include "refract/base/error.hpp"
#include "refract/base/progress.hpp"
#include "refract/base/stop.hpp"
#include "refract/sae/variant.hpp"
#include "refract/stages/baselines.hpp"
#include "refract/stages/calibrate.hpp"
#include "refract/stages/train.hpp"

namespace refract {
namespace {

constexpr const char* kHook = "planted";
constexpr std::uint64_t kSliceRows = 64;  // of a batch: what a rank has a whole number of
constexpr std::size_t kCalibrationRows = 4096;
constexpr std::size_t kBlockRows = 1024;       // measured together
constexpr std::uint64_t kStepsAStopWaits = 8;  // ranks ask each other after so many

// Parts of the endless sequence of rows that no batch reaches.
constexpr std::uint64_t kCalibrationFirst = std::uint64_t{1} << 40,
                        kHeldoutFirst = std::uint64_t{1} << 41;

// Norms and centre of some rows, as of a model's.
HookCalibration collective_calibration_of(const PlantedTruth& truth, Communicator& ranks) {
  constexpr std::size_t kPartRows = 256, kParts = kCalibrationRows / kPartRows;
  constexpr double kNoSinks = 1e6;
  const Share share = share_of(kParts, ranks.rank(), ranks.size());
  const std::vector<std::size_t> parts(share.count, kPartRows);
  const std::size_t n = share.count * kPartRows;
  const std::vector<std::uint8_t> special(n, 0);
  PlantedRows rows = truth.rows(kCalibrationFirst + share.first * kPartRows, n);
  return collective_measure(kHook, std::move(rows.x), special, parts, kNoSinks, ranks);
}

SaeConfig sae_config(const TruthTestConfig& config, const PlantedTruth& truth,
                     std::string_view variant) {
  SaeConfig sae{.name = std::string(variant), .hooks = {kHook}, .variant = std::string(variant)};
  sae.d_sae = config.d_sae;
  sae.seed = config.seed;
  sae.optimizer.lr = config.lr;
  if (variant == "relu" || variant == "gated")
    sae.penalty = {
        .kind = "l1", .coefficient = config.l1_coefficient, .warmup_steps = config.steps / 10};
  else if (variant == "jumprelu")
    sae.penalty = {.kind = "l0",
                   .coefficient = config.l0_coefficient,
                   .target = truth.mean_active(),
                   .warmup_steps = config.steps / 10};
  else
    sae.k = static_cast<std::size_t>(std::lround(truth.mean_active()));
  return sae;
}

void scale(TensorView<float> x, double by) {
  for (float& value : x.span()) value *= static_cast<float>(by);
}

void collective_train(const TruthTestConfig& config, const PlantedTruth& truth,
                      std::vector<TrainedSae>& saes, Communicator& ranks) {
  const Share share = share_of(config.batch_rows / kSliceRows, ranks.rank(), ranks.size());
  const std::uint64_t first = share.first * kSliceRows, count = share.count * kSliceRows;
  Tensor<std::uint8_t> included(Shape{count});
  std::ranges::fill(included.span(), std::uint8_t{1});
  TrainConfig train;
  train.batch_rows = config.batch_rows;
  train.reduction = "ordered";
  StepRunner runner(train, config.steps, ranks);
  Progress progress("self-test", config.steps, "steps", ranks.rank() != 0);
  for (std::uint64_t step = 0; step < config.steps; ++step) {
    working(fmt::format("self-test step {}", step));
    const bool asks = step % kStepsAStopWaits == 0;
    if (asks && ranks.all_reduce_max(stop_requested() ? 1 : 0) != 0)
      throw StopRequested("stopped {}; the self-test keeps nothing: start it again", stop_cause());
    const PlantedRows rows = truth.rows(step * config.batch_rows + first, count);
    scale(rows.x.view(), saes.front().spaces().input->affine().factor);
    for (TrainedSae& sae : saes)
      runner.collective_step(sae, {.x = rows.x.cview(),
                                   .target = rows.x.cview(),
                                   .included = included.cview(),
                                   .first_row = first,
                                   .rows = config.batch_rows,
                                   .slice_rows = kSliceRows});
    if (const VisitLog& log = saes.back().log; log.steps > 0)
      progress.note(fmt::format("squared error {:.3g}, on the mean",
                                log.squared_error / static_cast<double>(log.steps)));
    progress.advance(1);
  }
  for (TrainedSae& sae : saes) runner.collective_finish(sae);
}

// What is held against the truth: decoder rows, and what fires in a row.
struct Dictionary {
  std::string name;
  const Variant* variant;  // null: the planted activations themselves
  const SaeParameters* parameters;
};

// The sums of one block of rows; blocks are added in their order.
struct BlockSums {
  double squared_error = 0;
  std::uint64_t active = 0;
};

SparseActs planted_acts(const PlantedRows& rows, double scale) {
  SparseActs acts{rows.row_starts, rows.features, rows.values};
  for (float& value : acts.values) value *= static_cast<float>(scale);
  return acts;
}

std::vector<TruthRow> collective_measure_all(const TruthTestConfig& config,
                                             const PlantedTruth& truth,
                                             const std::vector<Dictionary>& dictionaries,
                                             double input_scale, Communicator& ranks) {
  const std::size_t D = config.planted.d_in, each = D + 1;
  const std::uint64_t blocks = (config.heldout_rows + kBlockRows - 1) / kBlockRows;
  const Share share = share_of(blocks, ranks.rank(), ranks.size());
  std::vector<Cosines> cosines;
  std::vector<FiringCounts> counts;
  for (const Dictionary& dictionary : dictionaries) {
    cosines.push_back(absolute_cosines(dictionary.parameters->W_dec.cview(), truth.directions()));
    counts.emplace_back(best_matches(cosines.back()), config.planted.features);
  }
  std::vector<double> moments;                                    // a block: |x|^2, sum of x [D]
  std::vector<std::vector<BlockSums>> sums(dictionaries.size());  // of this rank's blocks
  for (std::uint64_t block = share.first; block < share.first + share.count; ++block) {
    const std::uint64_t first = block * kBlockRows,
                        n = std::min<std::uint64_t>(kBlockRows, config.heldout_rows - first);
    const PlantedRows rows = truth.rows(kHeldoutFirst + first, n);
    scale(rows.x.view(), input_scale);
    std::vector<double> moment(each, 0.0);
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t d = 0; d < D; ++d) {
        const auto value = static_cast<double>(rows.x.row(i)[d]);
        moment[0] += value * value;
        moment[1 + d] += value;
      }
    moments.insert(moments.end(), moment.begin(), moment.end());
    Tensor<float> x_hat(Shape{n, D});
    for (std::size_t s = 0; s < dictionaries.size(); ++s) {
      const Dictionary& dictionary = dictionaries[s];
      SparseActs acts;
      if (dictionary.variant)
        dictionary.variant->encode(*dictionary.parameters, rows.x.cview(), first, acts);
      else
        acts = planted_acts(rows, input_scale);
      decode(*dictionary.parameters, acts, x_hat.view());
      counts[s].add({acts.row_starts, acts.features}, {rows.row_starts, rows.features});
      BlockSums& sum = sums[s].emplace_back();
      sum.active = acts.features.size();
      for (std::size_t i = 0; i < x_hat.size(); ++i) {
        const double error =
            static_cast<double>(rows.x.span()[i]) - static_cast<double>(x_hat.span()[i]);
        sum.squared_error += error * error;
      }
    }
  }

  const auto n = static_cast<double>(config.heldout_rows);
  const std::vector<double> all = ranks.all_gather(std::span<const double>(moments));
  std::vector<double> moment(each, 0.0);
  for (std::size_t i = 0; i < all.size(); ++i) moment[i % each] += all[i];
  double variance = moment[0];
  for (std::size_t d = 0; d < D; ++d) variance -= moment[1 + d] * moment[1 + d] / n;

  std::vector<TruthRow> out;
  for (std::size_t s = 0; s < dictionaries.size(); ++s) {
    double error = 0, active = 0;
    for (const BlockSums& block : ranks.all_gather(std::span<const BlockSums>(sums[s]))) {
      error += block.squared_error;
      active += static_cast<double>(block.active);
    }
    ranks.all_reduce_sum(counts[s].counts());
    TruthRow& row = out.emplace_back(TruthRow{.name = dictionaries[s].name,
                                              .l0 = active / n,
                                              .r2 = 1 - error / variance,
                                              .scores = counts[s].scores()});
    row.scores.uniqueness = uniqueness(best_matches(cosines[s]));
    row.scores.mcc = mean_correlation(cosines[s]);
  }
  return out;
}

bool clearly_beats(const TruthScores& trained, const TruthScores& random) {
  return trained.f1 >= kClearF1 * random.f1 &&
         trained.mcc >= random.mcc + kClearMcc * (1 - random.mcc);
}

}  // namespace

const TruthRow& TruthReport::of(const std::string& name) const {
  const auto found = std::ranges::find(rows, name, &TruthRow::name);
  REFRACT_ASSERT(found != rows.end(), "no dictionary {}", name);
  return *found;
}

TruthReport collective_truth_test(const TruthTestConfig& config, Communicator& ranks) {
  const std::uint64_t slices = config.batch_rows / kSliceRows;
  if (static_cast<std::uint64_t>(ranks.size()) > slices)
    throw ConfigError(
        "{} ranks, but the self-test divides a batch of {} rows among {} at most: give --ranks {} "
        "or fewer",
        ranks.size(), config.batch_rows, slices, slices);
  working("the planted truth");
  const PlantedTruth truth(config.planted);
  CalibrationData calibration;
  calibration.hooks.push_back(collective_calibration_of(truth, ranks));
  std::vector<SaeConfig> configs;
  for (const std::string_view variant : variant_names())
    configs.push_back(sae_config(config, truth, variant));
  const std::uint64_t rows = config.steps * config.batch_rows;
  std::vector<TrainedSae> saes =
      make_trained_saes(configs, calibration, dead_threshold(config.batch_rows, rows));
  collective_train(config, truth, saes, ranks);

  working("measuring against the planted truth");
  const double input_scale = saes.front().spaces().input->affine().factor;
  const std::vector<float>& median = saes.front().input.geometric_median;
  const RandomControl random = random_control(
      saes.front().config, active_components(truth.mean_active()), median.size(), median);
  SaeParameters oracle = make_parameters({.d_sae = config.planted.features,
                                          .d_in = config.planted.d_in,
                                          .d_out = config.planted.d_in});
  std::ranges::copy(truth.directions().span(), oracle.W_dec.data());
  for (std::size_t d = 0; d < config.planted.d_in; ++d)
    oracle.b_dec.data()[d] = truth.constant()[d] * static_cast<float>(input_scale);

  std::vector<Dictionary> dictionaries{{"random", random.variant.get(), &random.parameters}};
  for (const TrainedSae& sae : saes)
    dictionaries.push_back({sae.config.name, sae.variant.get(), &sae.used()});
  dictionaries.push_back({"oracle", nullptr, &oracle});

  TruthReport report;
  report.config = config;
  report.rows = collective_measure_all(config, truth, dictionaries, input_scale, ranks);
  for (const TrainedSae& sae : saes)
    if (!clearly_beats(report.of(sae.config.name).scores, report.of("random").scores))
      report.failures.push_back(sae.config.name);
  return report;
}

std::string describe(const TruthReport& report) {
  const TruthTestConfig& config = report.config;
  std::string text = fmt::format(
      "{} true features in {} dimensions; dictionaries of {} features, trained on {} rows, "
      "measured "
      "on {} others\n\n{:<10}{:>8}{:>8}{:>11}{:>8}{:>8}{:>12}{:>8}\n",
      config.planted.features, config.planted.d_in, config.d_sae, config.steps * config.batch_rows,
      config.heldout_rows, "dictionary", "L0", "R2", "precision", "recall", "F1", "uniqueness",
      "MCC");
  for (const TruthRow& row : report.rows)
    text += fmt::format("{:<10}{:>8.2f}{:>8.3f}{:>11.3f}{:>8.3f}{:>8.3f}{:>12.3f}{:>8.3f}\n",
                        row.name, row.l0, row.r2, row.scores.precision, row.scores.recall,
                        row.scores.f1, row.scores.uniqueness, row.scores.mcc);
  text +=
      "\nF1: how well a feature's firing tells when the true feature nearest to it fires. "
      "Uniqueness: the\nshare of features that are each nearest to another one. MCC: the mean "
      "|cosine| when features and\ntruth are paired off. All are 1 for the oracle, which is the "
      "truth, and near what chance gives for\nrandom, which was never trained. Training that "
      "learns "
      "stands well away from random; R2 alone does\nnot show it.\n";
  text += report.failures.empty()
              ? fmt::format(
                    "passed: every variant has {} times the F1 of random, and an MCC at "
                    "least {} of the way from random's to 1\n",
                    kClearF1, kClearMcc)
              : fmt::format("FAILED: {}\n", fmt::join(report.failures, ", "));
  return text;
}

std::string to_json(const TruthReport& report) {
  using Json = nlohmann::ordered_json;
  const TruthTestConfig& config = report.config;
  Json dictionaries = Json::array();
  for (const TruthRow& row : report.rows)
    dictionaries.push_back({{"name", row.name},
                            {"l0", row.l0},
                            {"r2", row.r2},
                            {"precision", row.scores.precision},
                            {"recall", row.scores.recall},
                            {"f1", row.scores.f1},
                            {"uniqueness", row.scores.uniqueness},
                            {"mcc", row.scores.mcc}});
  const Json json{{"true_features", config.planted.features},
                  {"d_in", config.planted.d_in},
                  {"d_sae", config.d_sae},
                  {"trained_rows", config.steps * config.batch_rows},
                  {"heldout_rows", config.heldout_rows},
                  {"dictionaries", dictionaries},
                  {"rule", {{"f1_times_random", kClearF1}, {"mcc_share_of_way_to_1", kClearMcc}}},
                  {"failures", report.failures},
                  {"passed", report.failures.empty()}};
  return json.dump() + "\n";
}

}  // namespace refract
