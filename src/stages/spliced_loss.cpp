#include "refract/stages/spliced_loss.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <vector>

#include "refract/base/activity.hpp"
#include "refract/base/error.hpp"
#include "refract/base/progress.hpp"
#include "refract/metrics/spliced_loss.hpp"
#include "refract/ops/token_kl.hpp"
#include "refract/ops/token_nll.hpp"
#include "refract/tensor/dot.hpp"
#include "stages/forward_batches.hpp"

namespace refract {
namespace {

// What a row that takes part is replaced by.
enum class Splice { none, sae, zero, mean };

class SpliceTap final : public Tap {
 public:
  // sae: with Splice::sae
  SpliceTap(const EvaluatedHooks& hooks, Splice splice, Reconstructor* sae,
            std::span<const std::uint8_t> excluded, SharedStop& stop)
      : hooks_(hooks),
        input_(parse_hook_point(hooks.input.hook)),
        target_(parse_hook_point(hooks.target.hook)),
        splice_(splice),
        sae_(sae),
        excluded_(excluded),
        stop_(stop) {}

  void at(HookPoint hook, TensorView<float> values, Stream&) override {
    stop_.poll();
    if (splice_ == Splice::none) return;
    if (hook == input_) read(values);
    if (hook == target_) replace(values);
  }

 private:
  void read(TensorView<const float> values) {
    const std::size_t n = values.axis(0);
    replaced_.resize(n);
    for (std::size_t row = 0; row < n; ++row)
      replaced_[row] =
          excluded_[row] == 0 && !is_sink(norm_of(values.row(row)), hooks_.input.sink_threshold);
    x_hat_ = Tensor<float>(Shape{n, hooks_.target.d_in});
    if (splice_ == Splice::sae) {
      SparseActs acts;
      sae_->reconstruct(values, replaced_, acts, x_hat_.view());
    }
    if (splice_ == Splice::mean)
      for (std::size_t row = 0; row < n; ++row)
        std::ranges::copy(hooks_.target.mean, x_hat_.row(row).begin());
  }

  void replace(TensorView<float> values) {
    expect_shape(x_hat_.cview(), "x_hat", {{"n", values.axis(0)}, {"D", values.axis(1)}});
    for (std::size_t row = 0; row < values.axis(0); ++row)
      if (replaced_[row] != 0 && !is_sink(norm_of(values.row(row)), hooks_.target.sink_threshold))
        std::ranges::copy(x_hat_.row(row), values.row(row).begin());
  }

  const EvaluatedHooks& hooks_;
  HookPoint input_, target_;
  Splice splice_;
  Reconstructor* sae_;
  std::span<const std::uint8_t> excluded_;
  SharedStop& stop_;
  std::vector<std::uint8_t> replaced_;  // as far as what was read says
  Tensor<float> x_hat_;
};

// Of every token of some batches, one batch behind the other.
struct TokenLosses {
  std::vector<float> nll;
  std::vector<float> kl;  // from the clean model; 0 for that itself
};

}  // namespace

struct SplicedLoss::Body {
  const LanguageModel* model;
  EvaluatedHooks hooks;
  std::uint64_t seed;
  std::vector<ForwardBatch> batches;
  std::vector<int> runs_on;  // of each batch, the rank
  // Of a batch this rank runs: the clean stream before the unembedding [n, D]. Two distributions
  // are compared through it, some tokens at a time, so that no [n, V] is kept.
  std::vector<Tensor<float>> clean;
  enum Run : std::size_t { without_change, zero, mean, own };
  std::array<TokenLosses, own> losses;  // without an SAE; on rank 0

  // Appends what a batch of this rank loses.
  void run(std::size_t b, Splice splice, Reconstructor* sae, SharedStop& stop, TokenLosses& out) {
    const ForwardBatch& batch = batches[b];
    const std::size_t n = batch.ids.size();
    Stream stream;
    SpliceTap tap(hooks, splice, sae, batch.excluded, stop);
    Tensor<float> normed(Shape{n, model->info().d_model});
    model->forward_to_unembedding(batch.packed(), tap, normed.view(), stream);

    const std::vector<std::uint32_t> targets = successors(batch.packed());
    std::vector<float> nll(n), kl(n);
    const std::size_t at_once = std::min(unembedded_at_once(model->info()), n);
    const Shape shape{at_once, model->info().vocab};
    Tensor<float> logits(shape), of_clean(splice == Splice::none ? Shape{0, 0} : shape);
    for (std::size_t first = 0; first < n; first += at_once) {
      stop.poll();
      const std::size_t count = std::min(at_once, n - first);
      const auto part = logits.view().rows(0, count);
      model->unembed(normed.cview().rows(first, count), first, part, stream);
      token_nll(part, std::span(targets).subspan(first, count),
                std::span(nll).subspan(first, count), stream);
      if (splice == Splice::none) continue;
      const auto clean_part = of_clean.view().rows(0, count);
      model->unembed(clean[b].cview().rows(first, count), first, clean_part, stream);
      token_kl(clean_part, part, std::span(kl).subspan(first, count), stream);
    }
    if (splice == Splice::none) clean[b] = std::move(normed);
    out.nll.insert(out.nll.end(), nll.begin(), nll.end());
    out.kl.insert(out.kl.end(), kl.begin(), kl.end());
  }

  // What every rank found, on rank 0 in the order of the batches.
  [[nodiscard]] std::vector<float> collective_ordered(const std::vector<float>& mine,
                                                      Communicator& ranks) const {
    const std::vector<float> all = ranks.gather(std::span<const float>(mine), 0);
    if (ranks.rank() != 0) return {};
    std::vector<std::size_t> at(batches.size());
    std::size_t end = 0;
    for (int rank = 0; rank < ranks.size(); ++rank)
      for (std::size_t b = 0; b < batches.size(); ++b) {
        if (runs_on[b] != rank) continue;
        at[b] = end;
        end += batches[b].ids.size();
      }
    REFRACT_ASSERT(end == all.size(), "{} of {} values", all.size(), end);
    std::vector<float> ordered;
    for (std::size_t b = 0; b < batches.size(); ++b) {
      const auto from = all.begin() + static_cast<std::ptrdiff_t>(at[b]);
      ordered.insert(ordered.end(), from,
                     from + static_cast<std::ptrdiff_t>(batches[b].ids.size()));
    }
    return ordered;
  }

  TokenLosses collective_run(std::string_view doing, Splice splice, Reconstructor* sae,
                             SharedStop& stop, Communicator& ranks) {
    std::uint64_t tokens = 0;
    for (std::size_t b = 0; b < batches.size(); ++b)
      if (runs_on[b] == ranks.rank()) tokens += batches[b].ids.size();
    TokenLosses mine;
    stop.collective([&] {
      if (tokens == 0) return;
      working(doing);
      Progress progress(std::string(doing), tokens, "tokens", ranks.rank() != 0);
      for (std::size_t b = 0; b < batches.size(); ++b) {
        if (runs_on[b] != ranks.rank()) continue;
        run(b, splice, sae, stop, mine);
        progress.advance(batches[b].ids.size());
      }
    });
    return {collective_ordered(mine.nll, ranks), collective_ordered(mine.kl, ranks)};
  }

  void collective_deal(Communicator& ranks) {
    const std::uint8_t has_model = model != nullptr ? 1 : 0;
    const std::vector<std::uint8_t> all = ranks.all_gather(std::span(&has_model, 1));
    std::vector<int> with_model;
    for (std::size_t rank = 0; rank < all.size(); ++rank)
      if (all[rank] != 0) with_model.push_back(static_cast<int>(rank));
    REFRACT_ASSERT(!with_model.empty(), "no rank of {} has a model", all.size());
    for (std::size_t b = 0; b < batches.size(); ++b)
      runs_on.push_back(with_model[b % with_model.size()]);
    clean.resize(batches.size());
  }
};

SplicedLoss::SplicedLoss(std::unique_ptr<Body> body) : body_(std::move(body)) {}
SplicedLoss::~SplicedLoss() = default;
SplicedLoss::SplicedLoss(SplicedLoss&&) noexcept = default;

SplicedLoss SplicedLoss::collective_without_sae(const LanguageModel* model, TokenCorpus& corpus,
                                                const ChunkReader& heldout,
                                                const EvaluatedHooks& hooks, std::uint64_t tokens,
                                                std::uint64_t seed, SharedStop& stop,
                                                Communicator& ranks) {
  auto body = std::make_unique<Body>(
      Body{.model = model,
           .hooks = hooks,
           .seed = seed,
           .batches = collective_heldout_batches(corpus, heldout, tokens, stop, ranks),
           .runs_on = {},
           .clean = {},
           .losses = {}});
  body->collective_deal(ranks);
  constexpr std::array<std::pair<Splice, std::string_view>, Body::own> kRuns{
      {{Splice::none, "clean"}, {Splice::zero, "zero"}, {Splice::mean, "mean"}}};
  for (std::size_t i = 0; i < kRuns.size(); ++i)
    body->losses[i] = body->collective_run(
        fmt::format("evaluate {}: cross-entropy, {}", hooks.target.hook, kRuns[i].second),
        kRuns[i].first, nullptr, stop, ranks);
  return SplicedLoss(std::move(body));
}

MetricReport SplicedLoss::collective_report(Reconstructor& sae, std::string_view sae_name,
                                            SharedStop& stop, Communicator& ranks) const {
  const TokenLosses spliced = body_->collective_run(
      fmt::format("evaluate {}: cross-entropy", sae_name), Splice::sae, &sae, stop, ranks);
  if (ranks.rank() != 0) return {};
  std::vector<std::uint8_t> counted;
  std::vector<std::uint64_t> documents;
  for (const ForwardBatch& batch : body_->batches) {
    const std::vector<std::uint8_t> of_batch = has_successor(batch.packed());
    counted.insert(counted.end(), of_batch.begin(), of_batch.end());
    documents.insert(documents.end(), batch.documents.begin(), batch.documents.end());
  }
  const std::string& hook = body_->hooks.target.hook;
  SplicedLossSums sums({"the model itself", hook + " set to zero", hook + " set to its mean",
                        fmt::format("SAE '{}'", sae_name)});
  for (std::size_t i = 0; i < Body::own; ++i)
    sums.add(i, body_->losses[i].nll, body_->losses[i].kl, counted, documents);
  sums.add(Body::own, spliced.nll, spliced.kl, counted, documents);
  return sums.report(
      {.clean = Body::without_change, .spliced = Body::own, .zero = Body::zero, .mean = Body::mean},
      body_->seed);
}

}  // namespace refract
