// BatchTopK with AuxK (Bussmann et al. 2024, BatchTopK Sparse Autoencoders).
//
//   f = the k N largest positive pre-activations of the N included rows of the global batch; the
//   loss is TopK's threshold: exponential mean of the smallest activation selected, used at
//   inference: f = pre where pre > threshold
//
// The selection is exact and does not depend on the ranks (ops/batch_top.hpp).
//
//   round 0  keep candidates above a floor, a share of the threshold; count their high halves
//   round 1  only when too few were kept: again without the floor
//   round 2  count the low 16 bits of candidates in the bucket that holds the k N-th
//   round 3  count its equals in each slice
//   then     keep the largest; the reconstruction begins
#include <cmath>

#include "refract/base/error.hpp"
#include "refract/ops/batch_top.hpp"
#include "refract/ops/gather_rows.hpp"
#include "sae/reconstructing_variant.hpp"
#include "sae/variant_table.hpp"

namespace refract {
namespace {

constexpr std::size_t kSelectionRounds = 4;
// The bar moves by less than this from step to step, but for the first ones; where it moves more,
// round 1 costs a second product.
constexpr float kFloorShare = 0.75F;

class BatchTopK final : public ReconstructingVariant {
 public:
  BatchTopK(const SaeConfig& config, std::size_t d_in, std::uint64_t dead_after_rows)
      : ReconstructingVariant(config, d_in, config.aux, dead_after_rows, kSelectionRounds),
        k_(config.k),
        threshold_rate_(config.threshold_rate) {}

  [[nodiscard]] std::string_view name() const override { return "batchtopk"; }
  [[nodiscard]] bool has_threshold() const override { return true; }
  [[nodiscard]] bool has_training_mode() const override { return true; }

  [[nodiscard]] StepShape selection() const override {
    StepShape shape{.candidates = true,
                    .histogram = kHalfBuckets + 1,
                    .rounds = std::vector<Round>(kSelectionRounds, {.histogram = true})};
    shape.rounds[0].candidates = true;
    return shape;
  }

  void select(std::size_t round, const Step& step) const override {
    StepBuffers& own = step.buffers;
    const RowEntries candidates = own.candidates.view();
    const TensorView<std::uint64_t> bar = own.bar.view();
    const auto counts = [&](std::size_t size) { return own.histogram.view().rows(0, size); };
    switch (round) {
      case 0:
        return look(step, {.floor = step.state.parameters.threshold.cview(), .share = kFloorShare},
                    {});
      case 1:
        find_high(counts(kHalfBuckets + 1), k_, false, bar, step.stream);
        return look(step, {}, bar.rows(kEnough, 1));
      case 2:
        find_high(counts(kHalfBuckets + 1), k_, true, bar, step.stream);
        return count_low(candidates, bar, counts(kHalfBuckets), step.stream);
      default:
        find_low(counts(kHalfBuckets), bar, step.stream);
        return count_equals(candidates, bar, order(step), counts(slots(step)), step.stream);
    }
  }
  void keep(const Step& step) const override {
    StepBuffers& own = step.buffers;
    keep_largest(own.candidates.view(), own.bar.view(), order(step),
                 own.histogram.view().rows(0, slots(step)), own.entries.view(), step.stream);
  }

  void finish(const Step& step) const override {
    ReconstructingVariant::finish(step);
    follow_bar(step.buffers.bar.cview(), threshold_rate_, step.state.parameters.threshold.view(),
               step.stream);
  }

  void encode(const SaeParameters& p, TensorView<const float> x, std::size_t,
              SparseActs& acts) const override {
    encode_rows(p, true, x, {.floor = p.threshold.cview()}, acts);
  }

  // The selection above within these rows: candidates without a floor, so that one look is enough.
  void encode_training(const SaeParameters& p, TensorView<const float> x,
                       std::span<const std::uint8_t> included, std::size_t,
                       SparseActs& acts) const override {
    const std::size_t n = x.axis(0);
    Stream stream;
    Tensor<float> centred(x.shape());
    centre_rows(x, p.b_dec.cview(), centred.view(), stream);
    const TensorView<const std::uint8_t> flags(included.data(), Shape{n});
    const RowEntriesBuffer candidates(n, 0, n * p.d_sae(), stream),
        kept(n, 0, n * p.d_sae(), stream);
    Tensor<std::uint64_t> bar(Shape{kBarValues}), counts(Shape{kHalfBuckets + 1});
    const TensorView<std::uint64_t> low = counts.view().rows(0, kHalfBuckets);
    EncodeSelect encoder(p.d_sae(), p.d_in());
    encoder.pack(p.W_enc.cview(), p.b_enc.cview(), stream);
    encoder.run({.x = centred.cview(), .included = flags, .choice = {}, .out = candidates.view()},
                stream);
    count_high(candidates.view(), flags, {}, counts.view(), stream);
    find_high(counts.view(), k_, true, bar.view(), stream);
    count_low(candidates.view(), bar.view(), low, stream);
    find_low(low, bar.view(), stream);
    const SliceOrder one_slice{.slice_rows = std::max<std::size_t>(1, n)};
    const TensorView<std::uint64_t> equals = counts.view().rows(0, 1);
    count_equals(candidates.view(), bar.view(), one_slice, equals, stream);
    keep_largest(candidates.view(), bar.view(), one_slice, equals, kept.view(), stream);
    compress(kept.view(), acts);
  }

  // As SAELens folds its own BatchTopK: a JumpReLU with one threshold for all features.
  [[nodiscard]] SaeExport export_for_saelens(const SaeParameters& p) const override {
    SaeExport out = export_common("jumprelu", p);
    out.tensors.push_back({"threshold", TensorRole::threshold, p.threshold.cview()});
    return out;
  }

 private:
  void look(const Step& step, const Choice& choice, TensorView<const std::uint64_t> unless) const {
    StepBuffers& own = step.buffers;
    // AuxK's entries are the first look's.
    const std::optional<AuxSelection> aux = unless.size() == 0 ? aux_selection(step) : std::nullopt;
    own.encoder.run({.x = step.input(),
                     .included = step.batch.included,
                     .choice = choice,
                     .out = own.candidates.view(),
                     .aux = aux ? &*aux : nullptr,
                     .unless = unless},
                    step.stream);
    // A row that is dealt to several tiles is counted by the first.
    count_high(own.candidates.view(),
               own.part.tile == 0 ? step.batch.included : TensorView<const std::uint8_t>(), unless,
               own.histogram.view().rows(0, kHalfBuckets + 1), step.stream);
  }

  [[nodiscard]] static SliceOrder order(const Step& step) {
    const StepPart& part = step.buffers.part;
    return {part.slice_rows, step.buffers.first_slice(), part.tile, part.tiles_of_row};
  }
  [[nodiscard]] static std::size_t slots(const Step& step) {
    const StepPart& part = step.buffers.part;
    return part.batch_rows / part.slice_rows * part.tiles_of_row;
  }

  std::size_t k_;
  double threshold_rate_;
};

}  // namespace

std::unique_ptr<Variant> make_batchtopk(const SaeConfig& config, std::size_t d_in,
                                        std::uint64_t dead_after_rows) {
  return std::make_unique<BatchTopK>(config, d_in, dead_after_rows);
}

void check_batchtopk(const SaeConfig& config, std::string_view where) {
  check_k(config, where);
  if (!(config.threshold_rate > 0 && config.threshold_rate <= 1))
    throw ConfigError("{}.threshold_rate is {}; expected a number in (0, 1], e.g. 0.01.", where,
                      config.threshold_rate);
}

}  // namespace refract
