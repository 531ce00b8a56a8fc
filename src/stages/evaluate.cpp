#include "refract/stages/evaluate.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "refract/base/error.hpp"
#include "refract/base/parallel.hpp"
#include "refract/metrics/cross_entropy.hpp"
#include "refract/metrics/pca.hpp"
#include "refract/sae/initialise.hpp"

namespace refract {
namespace {

constexpr std::size_t kRowsAtATime = 4096;

struct HeldoutPiece {
  Tensor<float> x;  // [n, D] raw
  std::vector<std::uint64_t> documents;
  std::vector<std::uint8_t> included;
};

// Rows of the first whole documents, at most max_rows of them (0: all).
std::uint64_t rows_to_use(const ChunkReader& heldout, std::uint64_t max_rows) {
  if (max_rows == 0 || max_rows >= heldout.rows()) return heldout.rows();
  const std::vector<std::uint64_t> documents = heldout.read_identity(0, max_rows + 1).document;
  std::uint64_t rows = max_rows;
  while (rows > 0 && documents[rows - 1] == documents[rows]) --rows;
  return rows != 0 ? rows : max_rows;
}

template <typename Use>
void for_each_piece(const ChunkReader& heldout, const std::string& hook, std::uint64_t max_rows,
                    Use&& use) {
  const std::size_t column = heldout.hook_index(hook);
  const std::size_t d_in = heldout.spec().hooks[column].d_in;
  const std::uint64_t rows = rows_to_use(heldout, max_rows);
  HeldoutPiece piece;
  for (std::uint64_t first = 0; first < rows; first += kRowsAtATime) {
    const std::uint64_t count = std::min<std::uint64_t>(kRowsAtATime, rows - first);
    if (piece.x.size() != count * d_in) piece.x = Tensor<float>(Shape{count, d_in});
    heldout.read_rows(column, first, count, piece.x.span());
    piece.documents = heldout.read_identity(first, count).document;
    piece.included = heldout.read_excluded(column, first, count);
    for (std::uint8_t& flag : piece.included) flag = flag == 0 ? 1 : 0;
    use(piece);
  }
}

// x_hat [n, D] of raw rows, in raw units. `included` [n]: in training mode, the rows selected
// among.
enum class Mode { inference, training };
void reconstruct(const EvaluatedSae& sae, TensorView<const float> x,
                 std::span<const std::uint8_t> included, Mode mode, SparseActs& acts,
                 TensorView<float> x_hat) {
  const auto scale = static_cast<float>(sae.input_scale);
  Tensor<float> scaled(x.shape());
  parallel_for(x.axis(0), [&](std::size_t row) {
    for (std::size_t j = 0; j < x.axis(1); ++j) scaled.row(row)[j] = x.row(row)[j] * scale;
  });
  if (mode == Mode::training)
    sae.variant->encode_training(*sae.parameters, scaled.cview(), included, 0, acts);
  else
    sae.variant->encode(*sae.parameters, scaled.cview(), 0, acts);
  decode(*sae.parameters, acts, x_hat);
  parallel_for(x.axis(0), [&](std::size_t row) {
    for (float& value : x_hat.row(row)) value /= scale;
  });
}

MetricReport evaluate_mode(const EvaluatedSae& sae, const ChunkReader& heldout, std::uint64_t seed,
                           std::uint64_t max_rows, Mode mode) {
  ReconstructionSums sums(sae.parameters->d_in(), sae.parameters->d_sae());
  SparseActs acts;
  for_each_piece(heldout, sae.config->hook, max_rows, [&](const HeldoutPiece& piece) {
    Tensor<float> x_hat(piece.x.shape());
    reconstruct(sae, piece.x.cview(), piece.included, mode, acts, x_hat.view());
    sums.add({piece.x.cview(), x_hat.cview(), acts.row_starts, acts.features, piece.documents,
              piece.included});
  });
  return sums.report(fmt::format("SAE '{}'", sae.config->name), seed);
}

MetricReport evaluate_pca(const EvaluatedSae& sae, const ChunkReader& heldout,
                          const HookCalibration& calibration, std::uint64_t seed, double l0) {
  const std::size_t d_in = sae.parameters->d_in();
  const Tensor<float> components = principal_components(
      calibration.covariance, d_in, std::min(active_features(*sae.config, l0), d_in));
  ReconstructionSums sums(d_in, 0);
  for_each_piece(heldout, sae.config->hook, 0, [&](const HeldoutPiece& piece) {
    Tensor<float> x_hat(piece.x.shape());
    reconstruct_from_components(piece.x.cview(), calibration.mean, components, x_hat.view());
    sums.add({piece.x.cview(), x_hat.cview(), {}, {}, piece.documents, piece.included});
  });
  return sums.report(fmt::format("PCA baseline of SAE '{}'", sae.config->name), seed);
}

// What a row that takes part is replaced by.
enum class Splice { none, sae, zero, mean };

class SpliceTap final : public Tap {
 public:
  SpliceTap(HookPoint hook, Splice splice, const EvaluatedSae* sae,
            const HookCalibration& calibration, std::span<const std::uint8_t> excluded)
      : hook_(hook), splice_(splice), sae_(sae), calibration_(calibration), excluded_(excluded) {}

  void at(HookPoint hook, TensorView<float> values) override {
    if (splice_ == Splice::none || !(hook == hook_)) return;
    const std::size_t n = values.axis(0), d_in = values.axis(1);
    Tensor<float> x_hat(Shape{n, d_in});
    if (splice_ == Splice::sae) {
      SparseActs acts;
      reconstruct(*sae_, values, {}, Mode::inference, acts, x_hat.view());
    }
    if (splice_ == Splice::mean)
      for (std::size_t row = 0; row < n; ++row)
        std::copy(calibration_.mean.begin(), calibration_.mean.end(), x_hat.row(row).begin());
    for (std::size_t row = 0; row < n; ++row) {
      if (excluded_[row] != 0 || is_sink(values.row(row))) continue;
      std::copy_n(x_hat.row(row).begin(), d_in, values.row(row).begin());
    }
  }

 private:
  [[nodiscard]] bool is_sink(std::span<const float> row) const {
    double squared = 0;
    for (const float value : row)
      squared += static_cast<double>(value) * static_cast<double>(value);
    return std::sqrt(squared) > calibration_.sink_threshold;
  }

  HookPoint hook_;
  Splice splice_;
  const EvaluatedSae* sae_;
  const HookCalibration& calibration_;
  std::span<const std::uint8_t> excluded_;
};

// Contexts joined into one call of the model.
struct ForwardBatch {
  std::vector<std::uint32_t> ids, positions, segment_starts{0};
  std::vector<std::uint8_t> excluded;
  std::vector<std::uint64_t> documents;

  void append(const ContextInput& context) {
    const auto offset = static_cast<std::uint32_t>(ids.size());
    ids.insert(ids.end(), context.ids.begin(), context.ids.end());
    positions.insert(positions.end(), context.positions.begin(), context.positions.end());
    for (std::size_t i = 1; i < context.segment_starts.size(); ++i)
      segment_starts.push_back(offset + context.segment_starts[i]);
    // Padding stands at the end of a context's slots and is not run.
    const auto slots = static_cast<std::ptrdiff_t>(context.ids.size());
    excluded.insert(excluded.end(), context.slots.excluded.begin(),
                    context.slots.excluded.begin() + slots);
    documents.insert(documents.end(), context.slots.document.begin(),
                     context.slots.document.begin() + slots);
  }
};

std::vector<ForwardBatch> heldout_batches(TokenCorpus& corpus, const ChunkReader& heldout,
                                          std::uint64_t tokens) {
  constexpr std::size_t kTokensPerCall = 4096;
  std::vector<ForwardBatch> batches;
  std::vector<std::uint64_t> used;
  std::uint64_t total = 0;
  for (std::uint64_t first = 0; first < heldout.rows(); first += kRowsAtATime) {
    const RowIdentity identity =
        heldout.read_identity(first, std::min<std::uint64_t>(kRowsAtATime, heldout.rows() - first));
    for (const std::uint64_t key : identity.context) {
      if (std::find(used.rbegin(), used.rend(), key) != used.rend()) continue;
      const ContextInput context = corpus.input(key);
      if (total != 0 && total + context.ids.size() > tokens) return batches;
      used.push_back(key);
      total += context.ids.size();
      if (batches.empty() || batches.back().ids.size() + context.ids.size() > kTokensPerCall)
        batches.emplace_back();
      batches.back().append(context);
    }
  }
  return batches;
}

nlohmann::ordered_json json_of(const MetricReport& report) {
  nlohmann::ordered_json json;
  json["rows"] = report.rows;
  json["documents"] = report.documents;
  for (const MetricValue& value : report.values) {
    json[value.name] = value.value;
    json[value.name + "_lo"] = value.low;
    json[value.name + "_hi"] = value.high;
  }
  return json;
}

}  // namespace

void check(const EvaluateConfig& config) {
  for (const std::string& baseline : config.baselines)
    if (baseline != "pca" && baseline != "random")
      throw ConfigError("evaluate.baselines has \"{}\"; known baselines: pca, random.", baseline);
  if (config.ce && config.ce_tokens == 0)
    throw ConfigError(
        "evaluate.ce_tokens is 0. Give a number of tokens, e.g. 16384, or set evaluate.ce: false.");
}

MetricReport evaluate_rows(const EvaluatedSae& sae, const ChunkReader& heldout, std::uint64_t seed,
                           std::uint64_t max_rows) {
  return evaluate_mode(sae, heldout, seed, max_rows, Mode::inference);
}

std::optional<MetricReport> evaluate_rows_in_training_mode(const EvaluatedSae& sae,
                                                           const ChunkReader& heldout,
                                                           std::uint64_t seed,
                                                           std::uint64_t max_rows) {
  if (!sae.variant->has_training_mode()) return std::nullopt;
  return evaluate_mode(sae, heldout, seed, max_rows, Mode::training);
}

std::size_t active_features(const SaeConfig& config, double l0) {
  return config.k != 0 ? config.k : static_cast<std::size_t>(std::max(1.0, std::round(l0)));
}

RandomControl random_control(const EvaluatedSae& sae, const HookCalibration& calibration,
                             double l0) {
  RandomControl control;
  control.config = {.name = sae.config->name + ".random-control",
                    .hook = sae.config->hook,
                    .variant = "topk",
                    .d_sae = sae.config->d_sae,
                    .k = active_features(*sae.config, l0),
                    .seed = sae.config->seed,
                    .normalize = sae.config->normalize,
                    .non_negative_decoder = sae.config->non_negative_decoder};
  control.variant = make_variant(control.config, sae.parameters->d_in(), 1);
  std::vector<float> median(calibration.geometric_median);
  for (float& value : median) value *= static_cast<float>(sae.input_scale);
  control.parameters =
      initial_parameters(control.config, *control.variant, median, Purpose::random_control);
  return control;
}

std::vector<MetricReport> evaluate_cross_entropy(std::span<const EvaluatedSae> saes,
                                                 const LanguageModel& model, TokenCorpus& corpus,
                                                 const ChunkReader& heldout,
                                                 const HookCalibration& calibration,
                                                 std::uint64_t tokens, std::uint64_t seed) {
  const HookPoint hook = parse_hook_point(calibration.hook);
  Stream stream;
  std::vector<std::string> runs{"the model itself", fmt::format("{} set to zero", name(hook)),
                                fmt::format("{} set to its mean", name(hook))};
  for (const EvaluatedSae& sae : saes) runs.push_back(fmt::format("SAE '{}'", sae.config->name));
  CrossEntropySums sums(std::move(runs));
  for (const ForwardBatch& batch : heldout_batches(corpus, heldout, tokens)) {
    const PackedTokens call{batch.ids, batch.positions, batch.segment_starts};
    const std::vector<std::uint8_t> predicts = has_successor(call);
    std::vector<float> nll(batch.ids.size());
    const auto run = [&](std::size_t index, Splice splice, const EvaluatedSae* sae) {
      SpliceTap tap(hook, splice, sae, calibration, batch.excluded);
      model.next_token_nll(call, tap, nll, stream);
      sums.add(index, nll, predicts, batch.documents);
    };
    run(0, Splice::none, nullptr);
    run(1, Splice::zero, nullptr);
    run(2, Splice::mean, nullptr);
    for (std::size_t i = 0; i < saes.size(); ++i) run(3 + i, Splice::sae, &saes[i]);
  }
  std::vector<MetricReport> reports;
  for (std::size_t i = 0; i < saes.size(); ++i)
    reports.push_back(sums.report({.clean = 0, .spliced = 3 + i, .zero = 1, .mean = 2}, seed));
  return reports;
}

std::vector<SaeEvaluation> evaluate(const EvaluateConfig& config,
                                    std::span<const EvaluatedSae> saes, const ChunkReader& heldout,
                                    const CalibrationData& calibration, const LanguageModel& model,
                                    TokenCorpus& corpus) {
  check(config);
  std::vector<SaeEvaluation> out;
  std::map<std::string, std::vector<std::size_t>> of_hook;
  for (std::size_t i = 0; i < saes.size(); ++i) {
    const EvaluatedSae& sae = saes[i];
    of_hook[sae.config->hook].push_back(i);
    SaeEvaluation one{sae.config->name,
                      sae.config->hook,
                      evaluate_rows(sae, heldout, config.seed),
                      evaluate_rows_in_training_mode(sae, heldout, config.seed),
                      {},
                      std::nullopt};
    const double l0 = one.inference.of("l0").value;
    for (const std::string& baseline : config.baselines) {
      const HookCalibration& hook = calibration.of(sae.config->hook);
      if (baseline == "pca") {
        one.baselines[baseline] = evaluate_pca(sae, heldout, hook, config.seed, l0);
      } else {
        const RandomControl control = random_control(sae, hook, l0);
        one.baselines[baseline] = evaluate_rows(
            {&control.config, control.variant.get(), &control.parameters, sae.input_scale}, heldout,
            config.seed);
      }
    }
    out.push_back(std::move(one));
  }
  if (!config.ce) return out;
  for (const auto& [hook, indices] : of_hook) {
    std::vector<EvaluatedSae> group;
    for (const std::size_t i : indices) group.push_back(saes[i]);
    std::vector<MetricReport> reports = evaluate_cross_entropy(
        group, model, corpus, heldout, calibration.of(hook), config.ce_tokens, config.seed);
    for (std::size_t i = 0; i < indices.size(); ++i)
      out[indices[i]].cross_entropy = std::move(reports[i]);
  }
  return out;
}

std::string to_json(const MetricReport& report) { return json_of(report).dump(); }

std::string to_json(const SaeEvaluation& evaluation) {
  nlohmann::ordered_json json;
  json["name"] = evaluation.name;
  json["hook"] = evaluation.hook;
  json["inference"] = json_of(evaluation.inference);
  if (evaluation.training_mode) json["training_mode"] = json_of(*evaluation.training_mode);
  for (const auto& [name, report] : evaluation.baselines) json["baselines"][name] = json_of(report);
  if (evaluation.cross_entropy) json["cross_entropy"] = json_of(*evaluation.cross_entropy);
  return json.dump();
}

}  // namespace refract
