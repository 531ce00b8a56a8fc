#include "refract/stages/evaluate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "refract/base/activity.hpp"
#include "refract/base/error.hpp"
#include "refract/base/parallel.hpp"
#include "refract/base/progress.hpp"
#include "refract/base/stop.hpp"
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

struct RowRange {
  std::uint64_t first = 0, last = 0;
};

// Rows of the first whole documents, at most max_rows of them (0: all).
std::uint64_t rows_to_use(const ChunkReader& heldout, std::uint64_t max_rows) {
  if (max_rows == 0 || max_rows >= heldout.rows()) return heldout.rows();
  const std::vector<std::uint64_t> documents = heldout.read_identity(0, max_rows + 1).document;
  std::uint64_t rows = max_rows;
  while (rows > 0 && documents[rows - 1] == documents[rows]) --rows;
  return rows != 0 ? rows : max_rows;
}

// The first row from `row` on with which a document begins; `rows` where there is none before.
std::uint64_t next_document(const ChunkReader& heldout, std::uint64_t row, std::uint64_t rows) {
  if (row == 0) return 0;
  for (std::uint64_t first = row; first < rows; first += kRowsAtATime) {
    const std::uint64_t count = std::min<std::uint64_t>(kRowsAtATime, rows - first);
    const std::vector<std::uint64_t> documents =
        heldout.read_identity(first - 1, count + 1).document;
    for (std::uint64_t i = 0; i < count; ++i)
      if (documents[i] != documents[i + 1]) return first + i;
  }
  return rows;
}

// The whole documents of one rank: those that begin in its share of the rows.
RowRange documents_of_rank(const ChunkReader& heldout, std::uint64_t rows, int rank, int size) {
  const Share share = share_of(rows, rank, size);
  return {next_document(heldout, share.first, rows),
          next_document(heldout, share.first + share.count, rows)};
}

// doing: what the progress line and the watchdog name; empty: neither (a line of metrics.jsonl).
template <typename Use>
void for_each_piece(const ChunkReader& heldout, const std::string& hook, RowRange rows,
                    const std::string& doing, Use&& use) {
  const std::size_t column = heldout.hook_index(hook);
  const std::size_t d_in = heldout.spec().hooks[column].d_in;
  if (!doing.empty()) working(doing);
  Progress progress(doing, rows.last - rows.first, "rows", doing.empty());
  HeldoutPiece piece;
  for (std::uint64_t first = rows.first; first < rows.last; first += kRowsAtATime) {
    stop_point();
    const std::uint64_t count = std::min<std::uint64_t>(kRowsAtATime, rows.last - first);
    if (piece.x.size() != count * d_in) piece.x = Tensor<float>(Shape{count, d_in});
    heldout.read_rows(column, first, count, piece.x.span());
    piece.documents = heldout.read_identity(first, count).document;
    piece.included = heldout.read_excluded(column, first, count);
    for (std::uint8_t& flag : piece.included) flag = flag == 0 ? 1 : 0;
    use(piece);
    progress.advance(count);
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

// The SAE as the seam sees it.
class SaeReconstructor final : public Reconstructor {
 public:
  explicit SaeReconstructor(const EvaluatedSae& sae) : sae_(sae) {}
  [[nodiscard]] std::size_t components() const override { return sae_.parameters->d_sae(); }
  void reconstruct(TensorView<const float> x, std::span<const std::uint8_t> included,
                   SparseActs& acts, TensorView<float> x_hat) override {
    refract::reconstruct(sae_, x, included, Mode::inference, acts, x_hat);
  }

 private:
  EvaluatedSae sae_;
};

ReconstructionSums sums_of(const EvaluatedSae& sae, const ChunkReader& heldout, RowRange rows,
                           Mode mode, const std::string& doing) {
  ReconstructionSums sums(sae.parameters->d_in(), sae.parameters->d_sae());
  SparseActs acts;
  for_each_piece(heldout, sae.config->hook, rows, doing, [&](const HeldoutPiece& piece) {
    Tensor<float> x_hat(piece.x.shape());
    reconstruct(sae, piece.x.cview(), piece.included, mode, acts, x_hat.view());
    sums.add({piece.x.cview(), x_hat.cview(), acts.row_starts, acts.features, piece.documents,
              piece.included});
  });
  return sums;
}

MetricReport report_of(const EvaluatedSae& sae, const ReconstructionSums& sums,
                       std::uint64_t seed) {
  return sums.report(fmt::format("SAE '{}'", sae.config->name), seed);
}

MetricReport evaluate_mode(const EvaluatedSae& sae, const ChunkReader& heldout, std::uint64_t seed,
                           Mode mode, const std::string& doing) {
  return report_of(sae, sums_of(sae, heldout, {0, heldout.rows()}, mode, doing), seed);
}

MetricReport evaluate_pca(const EvaluatedSae& sae, const ChunkReader& heldout,
                          const HookCalibration& calibration, std::uint64_t seed, double l0,
                          const std::string& doing) {
  working(doing);
  const std::size_t d_in = sae.parameters->d_in();
  const Tensor<float> components = principal_components(
      calibration.covariance, d_in, std::min(active_features(*sae.config, l0), d_in));
  ReconstructionSums sums(d_in, 0);
  for_each_piece(
      heldout, sae.config->hook, {0, heldout.rows()}, doing, [&](const HeldoutPiece& piece) {
        Tensor<float> x_hat(piece.x.shape());
        reconstruct_from_components(piece.x.cview(), calibration.mean, components, x_hat.view());
        sums.add({piece.x.cview(), x_hat.cview(), {}, {}, piece.documents, piece.included});
      });
  return sums.report(fmt::format("PCA baseline of SAE '{}'", sae.config->name), seed);
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

MetricReport collective_evaluate_rows(const EvaluatedSae& sae, const ChunkReader& heldout,
                                      std::uint64_t seed, std::uint64_t max_rows,
                                      Communicator& ranks) {
  const RowRange mine =
      documents_of_rank(heldout, rows_to_use(heldout, max_rows), ranks.rank(), ranks.size());
  const std::vector<std::uint64_t> words =
      sums_of(sae, heldout, mine, Mode::inference, {}).packed();
  const std::vector<std::uint64_t> all = ranks.gather(std::span<const std::uint64_t>(words), 0);
  if (ranks.rank() != 0) return {};
  ReconstructionSums sums(sae.parameters->d_in(), sae.parameters->d_sae());
  sums.add_packed(all);
  return report_of(sae, sums, seed);
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

Evaluator::Evaluator(const EvaluateConfig& config, const ChunkReader& heldout,
                     const CalibrationData& calibration, const LanguageModel& model,
                     TokenCorpus& corpus)
    : config_(config),
      heldout_(heldout),
      calibration_(calibration),
      model_(model),
      corpus_(corpus) {
  check(config);
}

SaeEvaluation Evaluator::evaluate(const EvaluatedSae& sae) {
  const HookCalibration& hook = calibration_.of(sae.config->hook);
  const auto doing = [&](std::string_view what) {
    return fmt::format("evaluate {}: {}", sae.config->name, what);
  };
  SaeEvaluation out{
      sae.config->name,
      sae.config->hook,
      evaluate_mode(sae, heldout_, config_.seed, Mode::inference, doing("held-out rows")),
      std::nullopt,
      {},
      std::nullopt};
  if (sae.variant->has_training_mode())
    out.training_mode =
        evaluate_mode(sae, heldout_, config_.seed, Mode::training, doing("in training mode"));
  const double l0 = out.inference.of("l0").value;
  for (const std::string& baseline : config_.baselines) {
    if (baseline == "pca") {
      out.baselines[baseline] = evaluate_pca(sae, heldout_, hook, config_.seed, l0, doing("pca"));
    } else {
      const RandomControl control = random_control(sae, hook, l0);
      out.baselines[baseline] = evaluate_mode(
          {&control.config, control.variant.get(), &control.parameters, sae.input_scale}, heldout_,
          config_.seed, Mode::inference, doing("frozen random"));
    }
  }
  if (!config_.ce) return out;
  Communicator alone = Communicator::loopback();
  SharedStop stop(alone);
  auto found = cross_entropy_.find(hook.hook);
  if (found == cross_entropy_.end())
    found = cross_entropy_
                .emplace(hook.hook, SplicedLoss::collective_without_sae(&model_, corpus_, heldout_,
                                                                        hook, config_.ce_tokens,
                                                                        config_.seed, stop, alone))
                .first;
  SaeReconstructor reconstructor(sae);
  out.cross_entropy = found->second.collective_report(reconstructor, sae.config->name, stop, alone);
  return out;
}

std::string to_json(const MetricReport& report) { return json_of(report).dump(); }

std::string to_json(const SaeEvaluation& evaluation, const Parents& parents) {
  nlohmann::ordered_json json{{"schema", "evaluation"},
                              {"version", kSchemaVersion},
                              {"stage", "evaluate"},
                              {"parents", parents}};
  json["name"] = evaluation.name;
  json["hook"] = evaluation.hook;
  json["inference"] = json_of(evaluation.inference);
  if (evaluation.training_mode) json["training_mode"] = json_of(*evaluation.training_mode);
  for (const auto& [name, report] : evaluation.baselines) json["baselines"][name] = json_of(report);
  if (evaluation.cross_entropy) json["cross_entropy"] = json_of(*evaluation.cross_entropy);
  return json.dump();
}

}  // namespace refract
