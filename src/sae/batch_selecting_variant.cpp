#include "sae/batch_selecting_variant.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "refract/ops/batch_top.hpp"
#include "refract/ops/gather_rows.hpp"

namespace refract {
namespace {

constexpr std::size_t kSelectionRounds = 4;
// The bar moves by less than this from step to step, but for the first ones; where it moves more,
// round 1 costs a second product.
constexpr float kFloorShare = 0.75F;

SliceOrder order(const Step& step) {
  const StepPart& part = step.buffers.part;
  return {part.slice_rows, step.buffers.first_slice(), part.tile, part.tiles_of_row};
}

std::size_t slots(const Step& step) {
  const StepPart& part = step.buffers.part;
  return part.batch_rows / part.slice_rows * part.tiles_of_row;
}

}  // namespace

BatchSelectingVariant::BatchSelectingVariant(const SaeConfig& config, std::size_t d_in,
                                             std::uint64_t dead_after_rows,
                                             std::vector<std::size_t> prefixes)
    : ReconstructingVariant(config, d_in, dead_after_rows,
                            {.selection_rounds = kSelectionRounds,
                             .second = Second::aux_k,
                             .prefixes = std::move(prefixes)}),
      k_(config.k),
      threshold_rate_(config.threshold_rate) {}

StepShape BatchSelectingVariant::selection() const {
  StepShape shape{.candidates = true,
                  .histogram = kHalfBuckets + 1,
                  .rounds = std::vector<Round>(kSelectionRounds, {.histogram = true})};
  shape.rounds[0].candidates = true;
  return shape;
}

void BatchSelectingVariant::select(std::size_t round, const Step& step) const {
  StepBuffers& own = step.buffers;
  const RowEntries candidates = own.candidates.view();
  const TensorView<std::uint64_t> bar = own.bar.view();
  const auto counts = [&](std::size_t size) { return own.histogram.view().rows(0, size); };
  switch (round) {
    case 0:
      return look(step, {.floor = step.state.parameters.threshold.cview(), .share = kFloorShare},
                  {});
    case 1:
      find_high(counts(kHalfBuckets + 1), step.k, false, bar, step.stream);
      return look(step, {}, bar.rows(kEnough, 1));
    case 2:
      find_high(counts(kHalfBuckets + 1), step.k, true, bar, step.stream);
      return count_low(candidates, bar, counts(kHalfBuckets), step.stream);
    default:
      find_low(counts(kHalfBuckets), bar, step.stream);
      return count_equals(candidates, bar, order(step), counts(slots(step)), step.stream);
  }
}

void BatchSelectingVariant::keep(const Step& step) const {
  StepBuffers& own = step.buffers;
  keep_largest(own.candidates.view(), own.bar.view(), order(step),
               own.histogram.view().rows(0, slots(step)), own.entries.view(), step.stream);
}

void BatchSelectingVariant::finish(const Step& step) const {
  ReconstructingVariant::finish(step);
  follow_bar(step.buffers.bar.cview(), threshold_rate_, step.state.parameters.threshold.view(),
             step.stream);
}

void BatchSelectingVariant::encode(const SaeParameters& p, TensorView<const float> x, std::size_t,
                                   SparseActs& acts) const {
  encode_rows(p, true, x, {.floor = p.threshold.cview()}, acts);
}

// Candidates without a floor, so that one look is enough.
void BatchSelectingVariant::encode_training(const SaeParameters& p, TensorView<const float> x,
                                            std::span<const std::uint8_t> included, std::size_t,
                                            SparseActs& acts) const {
  const std::size_t n = x.axis(0);
  Stream stream;
  Tensor<float> centred(x.shape());
  centre_rows(x, p.b_dec.cview(), centred.view(), stream);
  const TensorView<const std::uint8_t> flags(included.data(), Shape{n});
  const RowEntriesBuffer candidates(n, 0, n * p.d_sae(), stream), kept(n, 0, n * p.d_sae(), stream);
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

SaeExport BatchSelectingVariant::export_for_saelens(const SaeParameters& p) const {
  SaeExport out = export_common("jumprelu", p);
  out.tensors.push_back({"threshold", TensorRole::threshold, p.threshold.cview()});
  out.trained_as = name();
  out.training = {{"k", std::to_string(k_)}};
  return out;
}

void BatchSelectingVariant::look(const Step& step, const Choice& choice,
                                 TensorView<const std::uint64_t> unless) const {
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

}  // namespace refract
