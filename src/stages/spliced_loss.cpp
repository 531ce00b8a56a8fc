#include "refract/stages/spliced_loss.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <vector>

#include "refract/base/activity.hpp"
#include "refract/base/progress.hpp"
#include "refract/base/stop.hpp"
#include "refract/metrics/cross_entropy.hpp"
#include "refract/tensor/dot.hpp"

namespace refract {
namespace {

constexpr std::size_t kRowsAtATime = 4096;

// What a row that takes part is replaced by.
enum class Splice { none, sae, zero, mean };

class SpliceTap final : public Tap {
 public:
  SpliceTap(HookPoint hook, Splice splice, Reconstructor* sae, const HookCalibration& calibration,
            std::span<const std::uint8_t> excluded)
      : hook_(hook), splice_(splice), sae_(sae), calibration_(calibration), excluded_(excluded) {}

  void at(HookPoint hook, TensorView<float> values) override {
    stop_point();
    if (splice_ == Splice::none || !(hook == hook_)) return;
    const std::size_t n = values.axis(0), d_in = values.axis(1);
    std::vector<std::uint8_t> replaced(n);
    for (std::size_t row = 0; row < n; ++row)
      replaced[row] =
          excluded_[row] == 0 && !is_sink(norm_of(values.row(row)), calibration_.sink_threshold);
    Tensor<float> x_hat(Shape{n, d_in});
    if (splice_ == Splice::sae) {
      SparseActs acts;
      sae_->reconstruct(values, replaced, acts, x_hat.view());
    }
    if (splice_ == Splice::mean)
      for (std::size_t row = 0; row < n; ++row)
        std::copy(calibration_.mean.begin(), calibration_.mean.end(), x_hat.row(row).begin());
    for (std::size_t row = 0; row < n; ++row)
      if (replaced[row] != 0) std::copy_n(x_hat.row(row).begin(), d_in, values.row(row).begin());
  }

 private:
  HookPoint hook_;
  Splice splice_;
  Reconstructor* sae_;
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

}  // namespace

struct CrossEntropy::Body {
  const LanguageModel& model;
  const HookCalibration& calibration;
  HookPoint hook;
  std::uint64_t seed;
  std::vector<ForwardBatch> batches;
  enum Run : std::size_t { clean, zero, mean, own };
  std::vector<std::array<std::vector<float>, own>> nll;  // of each batch, without an SAE

  [[nodiscard]] std::vector<float> run(const ForwardBatch& batch, Splice splice,
                                       Reconstructor* sae) const {
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

MetricReport CrossEntropy::of(Reconstructor& sae, std::string_view sae_name) const {
  const std::string doing = fmt::format("evaluate {}: cross-entropy", sae_name);
  working(doing);
  Progress progress(doing, body_->tokens(), "tokens");
  const std::string hook = name(body_->hook);
  CrossEntropySums sums({"the model itself", hook + " set to zero", hook + " set to its mean",
                         fmt::format("SAE '{}'", sae_name)});
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

}  // namespace refract
