#include "refract/stages/evaluate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "refract/base/activity.hpp"
#include "refract/base/error.hpp"
#include "refract/base/parallel.hpp"
#include "refract/base/progress.hpp"
#include "refract/base/stop.hpp"
#include "refract/metrics/cross_entropy.hpp"
#include "refract/tensor/dot.hpp"

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

MetricReport evaluate_baseline(const EvaluatedSae& sae, const ChunkReader& heldout,
                               std::uint64_t seed, const Baseline& baseline,
                               const std::string& name, const std::string& doing) {
  ReconstructionSums sums(sae.parameters->d_in(), baseline.reconstructor->components());
  SparseActs acts;
  for_each_piece(
      heldout, sae.config->hook, {0, heldout.rows()}, doing, [&](const HeldoutPiece& piece) {
        Tensor<float> x_hat(piece.x.shape());
        baseline.reconstructor->reconstruct(piece.x.cview(), piece.included, acts, x_hat.view());
        sums.add({piece.x.cview(), x_hat.cview(), acts.row_starts, acts.features, piece.documents,
                  piece.included});
      });
  return sums.report(fmt::format("baseline {} of SAE '{}'", name, sae.config->name), seed);
}

// What a row that takes part is replaced by.
enum class Splice { none, sae, zero, mean };

class SpliceTap final : public Tap {
 public:
  SpliceTap(HookPoint hook, Splice splice, const EvaluatedSae* sae,
            const HookCalibration& calibration, std::span<const std::uint8_t> excluded)
      : hook_(hook), splice_(splice), sae_(sae), calibration_(calibration), excluded_(excluded) {}

  void at(HookPoint hook, TensorView<float> values) override {
    stop_point();
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
      if (excluded_[row] != 0 || is_sink(norm_of(values.row(row)), calibration_.sink_threshold))
        continue;
      std::copy_n(x_hat.row(row).begin(), d_in, values.row(row).begin());
    }
  }

 private:
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

  [[nodiscard]] PackedTokens packed() const { return {ids, positions, segment_starts}; }
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
    stop_point();
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
  check_baselines(config.baselines);
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

struct CrossEntropy::Body {
  const LanguageModel& model;
  const HookCalibration& calibration;
  HookPoint hook;
  std::uint64_t seed;
  std::vector<ForwardBatch> batches;
  enum Run : std::size_t { clean, zero, mean, own };
  std::vector<std::array<std::vector<float>, own>> nll;  // of each batch, without an SAE

  [[nodiscard]] std::vector<float> run(const ForwardBatch& batch, Splice splice,
                                       const EvaluatedSae* sae) const {
    Stream stream;
    SpliceTap tap(hook, splice, sae, calibration, batch.excluded);
    std::vector<float> nll_of(batch.ids.size());
    model.next_token_nll(batch.packed(), tap, nll_of, stream);
    return nll_of;
  }

  [[nodiscard]] std::uint64_t tokens() const {
    std::uint64_t sum = 0;
    for (const ForwardBatch& batch : batches) sum += batch.ids.size();
    return sum;
  }

  void run_without_sae() {
    const std::string doing = fmt::format("evaluate {}: cross-entropy", calibration.hook);
    working(doing);
    Progress progress(doing, 3 * tokens(), "tokens");
    for (const ForwardBatch& batch : batches) {
      auto& of_batch = nll.emplace_back();
      constexpr Splice kSplices[own] = {Splice::none, Splice::zero, Splice::mean};
      for (std::size_t i = 0; i < own; ++i) {
        of_batch[i] = run(batch, kSplices[i], nullptr);
        progress.advance(batch.ids.size());
      }
    }
  }
};

CrossEntropy::CrossEntropy(const LanguageModel& model, TokenCorpus& corpus,
                           const ChunkReader& heldout, const HookCalibration& calibration,
                           std::uint64_t tokens, std::uint64_t seed)
    : body_(std::make_unique<Body>(Body{.model = model,
                                        .calibration = calibration,
                                        .hook = parse_hook_point(calibration.hook),
                                        .seed = seed,
                                        .batches = heldout_batches(corpus, heldout, tokens),
                                        .nll = {}})) {
  body_->run_without_sae();
}
CrossEntropy::~CrossEntropy() = default;
CrossEntropy::CrossEntropy(CrossEntropy&&) noexcept = default;

MetricReport CrossEntropy::of(const EvaluatedSae& sae) const {
  const std::string doing = fmt::format("evaluate {}: cross-entropy", sae.config->name);
  working(doing);
  Progress progress(doing, body_->tokens(), "tokens");
  const std::string hook = name(body_->hook);
  CrossEntropySums sums({"the model itself", hook + " set to zero", hook + " set to its mean",
                         fmt::format("SAE '{}'", sae.config->name)});
  for (std::size_t b = 0; b < body_->batches.size(); ++b) {
    const ForwardBatch& batch = body_->batches[b];
    const std::vector<std::uint8_t> predicts = has_successor(batch.packed());
    for (std::size_t i = 0; i < Body::own; ++i)
      sums.add(i, body_->nll[b][i], predicts, batch.documents);
    sums.add(Body::own, body_->run(batch, Splice::sae, &sae), predicts, batch.documents);
    progress.advance(batch.ids.size());
  }
  return sums.report(
      {.clean = Body::clean, .spliced = Body::own, .zero = Body::zero, .mean = Body::mean},
      body_->seed);
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
  auto fitted = baselines_.find(hook.hook);
  if (fitted == baselines_.end()) {
    Communicator one = Communicator::loopback();
    SharedStop stop(one);
    fitted = baselines_
                 .emplace(hook.hook, Baselines::collective_fit(
                                         config_.baselines,
                                         {.calibration = &hook, .seed = config_.seed}, stop, one))
                 .first;
  }
  for (const std::string& baseline : config_.baselines)
    out.baselines[baseline] =
        evaluate_baseline(sae, heldout_, config_.seed, fitted->second.at(baseline, sae, l0),
                          baseline, doing("baseline " + baseline));
  if (!config_.ce) return out;
  auto found = cross_entropy_.find(hook.hook);
  if (found == cross_entropy_.end())
    found = cross_entropy_
                .emplace(hook.hook, CrossEntropy(model_, corpus_, heldout_, hook, config_.ce_tokens,
                                                 config_.seed))
                .first;
  out.cross_entropy = found->second.of(sae);
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
