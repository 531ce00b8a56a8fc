#include "pipeline/recipes.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <string>

#include "refract/base/error.hpp"

namespace refract {
namespace {

// A value as a configuration has it, or a function of the entry.
struct Setting {
  std::string_view key, value;
  double (*of)(const SaeConfig& sae) = nullptr;
};
using Settings = std::span<const Setting>;

// Entries of some variants, or of all where none is named.
struct OfVariants {
  std::vector<std::string_view> variants;
  Settings settings;
};

struct RecipeRow {
  std::string_view name, source;
  std::string_view variant;  // of an entry that names none; empty: the default
  Settings train;            // below train.
  std::vector<OfVariants> entries;
};

// Each value says where it is from. Everywhere: the loss is a mean over rows of a sum over
// dimensions, ours too unless said; encoders begin as the decoder's transpose; features count as
// dead after so many rows as the plan says, not as the recipe's own (SAELens 1,000 steps,
// dictionary_learning 10 M rows).

// ---- log: the research log of the project's beginnings, by the settings printed over its table.
// What it does not say (Adam's betas, initial weights, how b_dec begins, whether decoder rows have
// unit norm) is as the defaults have it. Its inputs are taken as they are, since its MSE is.
constexpr Setting kLogTrain[] = {{"batch_rows", "256"},     {"data_seed", "4738"},    {"clip", "0"},
                                 {"input_scale", "none"},   {"optimizer.lr", "1e-3"},  // constant:
                                 {"optimizer.warmup", "0"}, {"optimizer.decay", "0"}};
constexpr Setting kLogSeed[] = {{"seed", "4738"}};
// Its loss is not written down. Taken: the mean over rows and dimensions of e^2 + l1Strength times
// the mean over rows and features of |f|. Ours is d_in times that, so that
//   coefficient = l1Strength d_in / d_sae = l1Strength / codeDimsMultiplier;
// here of its first rows, 0.01 and 4.
constexpr Setting kLogPenalty[] = {
    {"penalty.kind", "l1"}, {"penalty.coefficient", "0.0025"}, {"penalty.weighted", "false"}};
constexpr Setting kNoAux[] = {{"aux.coefficient", "0"}};

// ---- SAELens 6, TopK and its kin (sae_lens/saes/topk_sae.py, config.py).
constexpr Setting kSaeLensTrain[] = {{"batch_rows", "4096"},      {"clip", "1.0"},
                                     {"input_scale", "none"},  // normalize_activations, by default
                                     {"optimizer.lr", "3e-4"},    {"optimizer.warmup", "0"},
                                     {"optimizer.decay", "0"},    {"optimizer.beta1", "0.9"},
                                     {"optimizer.beta2", "0.999"}};
constexpr Setting kSaeLensCommon[] = {{"b_dec", "zero"}};
// Its decoder rows are free, begin at norm 0.1, and pre-activations are ranked times their norm and
// decoded by unit rows (rescale_acts_by_decoder_norm): the functions of a unit decoder, and only
// the path of training differs. Its AuxK is not divided by the residual's variance, as ours is: the
// number is its own, the weight of that loss is not (Adam takes little notice: no other loss
// reaches a dead feature).
constexpr Setting kSaeLensTopK[] = {{"decoder_norm", "unit"}, {"aux.coefficient", "1.0"}};
// Its threshold's mean begins at 0 and ours is corrected for its beginning.
constexpr Setting kSaeLensThreshold[] = {{"threshold_rate", "0.01"}};
// Variant `standard`. Its rows begin at norm 0.1, ours at 1.
constexpr Setting kSaeLensL1[] = {{"decoder_norm", "free"},
                                  {"penalty.kind", "l1"},
                                  {"penalty.coefficient", "1.0"},
                                  {"penalty.weighted", "true"}};

// ---- dictionary_learning (trainers/*.py). Batch: the user's there too. normalize_activations is
// off by default and would be 1 / sqrt(mean |x|^2): no setting here.
constexpr Setting kDictionaryTrain[] = {{"clip", "1.0"},
                                        {"input_scale", "none"},
                                        {"optimizer.warmup", "1000"},
                                        {"optimizer.decay", "0"},  // decay_start: none
                                        {"optimizer.beta1", "0.9"},
                                        {"optimizer.beta2", "0.999"}};
// Its median is of the first batch, ours of the calibration's rows.
constexpr Setting kDictionaryCommon[] = {{"decoder_norm", "unit"}, {"b_dec", "median"}};
double dictionary_rate(const SaeConfig& sae) {
  return 2e-4 / std::sqrt(static_cast<double>(std::max<std::size_t>(sae.d_sae, 1)) / 0x1p14);
}
// AuxK has our form: 1/32, divided by the residual's variance, d_in / 2 features.
constexpr Setting kDictionaryTopK[] = {
    {"optimizer.lr", "", dictionary_rate}, {"aux.coefficient", "0.03125"}, {"aux.k", "0"}};
// 1 - 0.999; there from step 1,000 on. Its Matryoshka weighs each group's error by 1 / groups^2,
// ours by 1: under Adam a matter of AuxK and the clip alone.
constexpr Setting kDictionaryThreshold[] = {{"threshold_rate", "0.001"}};
// StandardTrainer; it clips nothing, but train.clip is of all SAEs. Dead features are not resampled
// here.
constexpr Setting kDictionaryL1[] = {{"optimizer.lr", "1e-3"},
                                     {"penalty.kind", "l1"},
                                     {"penalty.coefficient", "0.1"},
                                     {"penalty.weighted", "false"},
                                     {"penalty.warmup_steps", "2000"}};
constexpr Setting kDictionaryGated[] = {{"optimizer.lr", "5e-5"},
                                        {"optimizer.beta1", "0"},
                                        {"penalty.kind", "l1"},
                                        {"penalty.coefficient", "0.1"},
                                        {"penalty.weighted", "false"}};
// (L0 / target - 1)^2 is our l0 with a target; its encoder reads x, ours x - b_dec.
constexpr Setting kDictionaryJumpRelu[] = {
    {"optimizer.lr", "7e-5"},        {"optimizer.beta1", "0"},
    {"jumprelu.threshold", "0.001"}, {"jumprelu.bandwidth", "0.001"},
    {"penalty.kind", "l0"},          {"penalty.coefficient", "1"},
    {"penalty.target", "20"},        {"penalty.warmup_steps", "2000"}};

// ---- Gemma Scope (Lieberum et al. 2024, section 3). Its rate rises along a cosine from a tenth,
// ours along a line from zero. Its encoder reads x, ours x - b_dec.
constexpr Setting kGemmaTrain[] = {
    {"batch_rows", "4096"},       {"clip", "0"},
    {"input_scale", "sqrt_d"},  // there mean |x|^2 is 1: ours is sqrt(d_in) larger
    {"optimizer.lr", "7e-5"},     {"optimizer.warmup", "1000"},
    {"optimizer.decay", "0"},     {"optimizer.beta1", "0"},
    {"optimizer.beta2", "0.999"}, {"optimizer.epsilon", "1e-8"}};
constexpr Setting kGemmaCommon[] = {{"decoder_norm", "unit"}, {"b_dec", "zero"}};
// 0.001 at its scale, so 0.001 sqrt(d_in) at ours, which a configuration does not know: 0.048 and
// 0.060 for its models' widths of 2304 and 3584. Its coefficients were swept and become d_in times
// as large here (the loss is, L0 is not): penalty.coefficient stays at its default until it is
// given.
constexpr Setting kGemmaJumpRelu[] = {{"jumprelu.threshold", "0.05"},
                                      {"jumprelu.bandwidth", "0.05"},
                                      {"penalty.kind", "l0"},
                                      {"penalty.target", "0"},
                                      {"penalty.warmup_steps", "10000"}};

const std::vector<RecipeRow>& recipes() {
  static const std::vector<RecipeRow> kRecipes{
      {"none", "", "", {}, {}},
      {"log",
       "the research log's table",
       "",
       kLogTrain,
       {{{}, kLogSeed},
        {{"relu", "topk", "abstopk", "batchtopk", "matryoshka"}, kLogPenalty},
        {{"topk", "abstopk", "batchtopk", "matryoshka"}, kNoAux}}},
      {"saelens-topk",
       "SAELens, TopK",
       "topk",
       kSaeLensTrain,
       {{{}, kSaeLensCommon},
        {{"topk", "abstopk", "batchtopk", "matryoshka"}, kSaeLensTopK},
        {{"batchtopk", "matryoshka"}, kSaeLensThreshold},
        {{"relu"}, kSaeLensL1}}},
      {"dictionary-learning",
       "dictionary_learning's trainers",
       "",
       kDictionaryTrain,
       {{{}, kDictionaryCommon},
        {{"topk", "batchtopk", "matryoshka"}, kDictionaryTopK},
        {{"batchtopk", "matryoshka"}, kDictionaryThreshold},
        {{"relu"}, kDictionaryL1},
        {{"gated"}, kDictionaryGated},
        {{"jumprelu"}, kDictionaryJumpRelu}}},
      {"gemma-scope",
       "Gemma Scope, JumpReLU",
       "jumprelu",
       kGemmaTrain,
       {{{}, kGemmaCommon}, {{"jumprelu"}, kGemmaJumpRelu}}}};
  return kRecipes;
}

const RecipeRow& recipe(std::string_view name) {
  const auto row = std::ranges::find(recipes(), name, &RecipeRow::name);
  REFRACT_ASSERT(row != recipes().end(), "recipe {}", name);
  return *row;
}

std::string below_train(std::string_view key) { return std::string("train.").append(key); }

// One entry of saes: on its way.
class EntryDefaults {
 public:
  EntryDefaults(const RunConfig& config, std::size_t i, Defaults& out)
      : config_(config), prefix_(fmt::format("saes.{}.", i)), sae_(config.saes[i]), out_(out) {}

  void add(const RecipeRow& row) {
    if (!row.variant.empty() && !is_given(prefix_ + "variant")) {
      sae_.variant = row.variant;
      out_.values.emplace_back(prefix_ + "variant", row.variant);
    }
    for (const OfVariants& entries : row.entries)
      if (entries.variants.empty() ||
          std::ranges::find(entries.variants, sae_.variant) != entries.variants.end())
        add(entries.settings);
  }

 private:
  void add(Settings settings) {
    for (const Setting& setting : settings) {
      const bool of_penalty = setting.key.starts_with("penalty.");
      if (of_penalty && has_another_penalty(settings)) continue;
      const bool of_optimizer = setting.key.starts_with("optimizer.");
      if (of_optimizer && is_given(below_train(setting.key))) continue;
      out_.values.emplace_back(
          prefix_ + std::string(setting.key),
          setting.of ? fmt::to_string(setting.of(sae_)) : std::string(setting.value));
    }
  }
  // The numbers of a penalty belong to its kind.
  [[nodiscard]] bool has_another_penalty(Settings settings) const {
    const auto kind = std::ranges::find(settings, "penalty.kind", &Setting::key);
    return kind != settings.end() && is_given(prefix_ + "penalty.kind") &&
           sae_.penalty.kind != kind->value;
  }
  [[nodiscard]] bool is_given(const std::string& key) const {
    return config_.origins.of(key) != Origins::kDefault;
  }

  const RunConfig& config_;
  std::string prefix_;
  SaeConfig sae_;
  Defaults& out_;
};

}  // namespace

std::vector<std::string_view> recipe_names() {
  std::vector<std::string_view> names;
  for (const RecipeRow& row : recipes()) names.push_back(row.name);
  return names;
}

std::string_view recipe_source(std::string_view name) { return recipe(name).source; }

Defaults recipe_defaults(const RunConfig& config) {
  const RecipeRow& row = recipe(config.train.recipe);
  Defaults out{.from = fmt::format("train.recipe {}", row.name), .values = {}};
  for (const Setting& setting : row.train)
    out.values.emplace_back(below_train(setting.key), setting.value);
  for (std::size_t i = 0; i < config.saes.size(); ++i) EntryDefaults(config, i, out).add(row);
  return out;
}

}  // namespace refract
