#include "sae/reconstructing_variant.hpp"

#include <algorithm>

#include "refract/base/error.hpp"
#include "refract/ops/decode_rows.hpp"
#include "refract/ops/feature_ages.hpp"
#include "refract/ops/gather_rows.hpp"

namespace refract {

bool input_is_centred(const SaeConfig& config) { return !is_transcoder(config); }

ReconstructingVariant::ReconstructingVariant(const SaeConfig& config, std::size_t d_in,
                                             const AuxConfig& aux, std::uint64_t dead_after_rows,
                                             std::size_t selection_rounds)
    : centred_(input_is_centred(config)),
      aux_(aux),
      aux_k_(std::min(aux.k != 0 ? aux.k : d_in / 2, config.d_sae)),
      selection_rounds_(selection_rounds),
      dead_after_rows_(dead_after_rows) {}

StepShape ReconstructingVariant::shape() const {
  StepShape shape = selection();
  REFRACT_ASSERT(shape.rounds.size() == selection_rounds_, "{} rounds of selection, expected {}",
                 shape.rounds.size(), selection_rounds_);
  shape.aux_k = aux_k();
  shape.rounds.push_back({.error = 0});
  if (aux_k() > 0) shape.rounds.push_back({.error = 1});
  shape.rounds.push_back({.statistics = true});
  return shape;
}

void ReconstructingVariant::measure(std::size_t round, const Step& step) const {
  if (round == 0) begin(step);
  if (round < selection_rounds_) return select(round, step);
  if (round == selection_rounds_) keep(step);
  reconstruct(round - selection_rounds_, step);
}

void ReconstructingVariant::prepare(const Step& step) const {
  list_dead(step.state.age.cview(), dead_after_rows_, step.buffers.dead_features(), step.stream);
}

void ReconstructingVariant::begin(const Step& step) const {
  const SaeParameters& p = step.state.parameters;
  if (centred_)
    centre_rows(step.batch.x, p.b_dec.cview(), step.buffers.centred.view(), step.stream);
  step.buffers.encoder.pack(p.W_enc.cview(), p.b_enc.cview(), step.stream);
}

std::optional<AuxSelection> ReconstructingVariant::aux_selection(const Step& step) const {
  if (aux_k() == 0) return std::nullopt;
  return AuxSelection{step.buffers.dead_features(), aux_k(), step.buffers.aux.view()};
}

// What is left to explain: of a transcoder the target without b_dec.
TensorView<const float> ReconstructingVariant::to_explain(const Step& step) const {
  return centred_ ? step.buffers.centred.cview() : step.buffers.centred_target.cview();
}

void ReconstructingVariant::decode(const Step& step, std::size_t term, const RowEntries& entries,
                                   TensorView<const float> base) const {
  const bool whole = step.whole_rows();
  decode_rows(
      entries, step.state.parameters.W_dec.cview(), whole ? base : TensorView<const float>(),
      step.buffers.error[term].view(),
      whole && term > 0 ? step.buffers.dead_count.cview() : TensorView<const std::uint64_t>(),
      step.stream);
}

void ReconstructingVariant::reconstruct(std::size_t round, const Step& step) const {
  StepBuffers& own = step.buffers;
  if (round == 0) {
    if (!centred_)
      centre_rows(step.batch.target, step.state.parameters.b_dec.cview(), own.centred_target.view(),
                  step.stream);
    return decode(step, 0, own.entries.view(), to_explain(step));
  }
  if (!step.whole_rows())  // the round before left the sum over the tiles of a row
    subtract_from(round == 1 ? to_explain(step) : own.error[0].cview(), own.error[round - 1].view(),
                  step.stream);
  if (round == 1 && aux_k() > 0) return decode(step, 1, own.aux.view(), own.error[0].cview());
  count_entries(own.entries.view(), step.batch.included, own.counts.view(), step.stream);
  sum_slices({.included = step.batch.included,
              .entries = own.entries.view(),
              .error = own.error[0].cview(),
              .aux_error = own.error[1].cview(),
              .any_dead = own.all_dead.cview(),
              .errors = own.part.tile == 0},
             step.batch.slice_rows, own.own_slices(), step.stream);
}

void ReconstructingVariant::weigh(const Step& step) const {
  StepBuffers& own = step.buffers;
  loss_scalars(own.sums.cview(), own.counts.cview().rows(own.counts.size() - 1, 1),
               {.aux_coefficient = aux_k() > 0 ? aux_.coefficient : 0, .l1 = l1(step.state.step)},
               own.scalars.view(), step.stream);
}

void ReconstructingVariant::gradients(const Step& step, const GradientRows& rows, std::size_t first,
                                      TensorView<float> out) const {
  const StepBuffers& own = step.buffers;
  const std::array<GradientTerm, kMostTerms> terms{
      GradientTerm{own.by_feature[0].view(), rows.error[0], own.scalar(kErrorFactor),
                   own.scalar(kPerEntry)},
      GradientTerm{own.by_feature[1].view(), rows.error[1], own.scalar(kAuxFactor), {}}};
  feature_gradients({.input = rows.input,
                     .terms = std::span(terms).first(aux_k() > 0 ? 2 : 1),
                     .W_dec = step.state.parameters.W_dec.cview()},
                    first, out, step.stream);
}

void ReconstructingVariant::finish(const Step& step) const {
  update_ages(step.buffers.counts.cview(), step.batch.first_pass, step.state.age.view(),
              step.stream);
  list_dead(step.state.age.cview(), dead_after_rows_, step.buffers.dead_features(), step.stream);
}

void compress(const RowEntries& entries, SparseActs& acts) {
  acts.row_starts.assign(1, 0);
  acts.features.clear();
  acts.values.clear();
  for (std::size_t row = 0; row < entries.rows(); ++row) {
    const std::uint64_t first = entries.starts.data()[row];
    const std::size_t count = entries.counts.data()[row];
    const auto append = [&](auto& to, const auto* from) {
      to.insert(to.end(), from, from + count);
    };
    append(acts.features, entries.features.data() + first);
    append(acts.values, entries.values.data() + first);
    acts.row_starts.push_back(acts.features.size());
  }
}

void encode_rows(const SaeParameters& p, bool centred, TensorView<const float> x,
                 const Choice& choice, SparseActs& acts) {
  const std::size_t n = x.axis(0);
  expect_shape(x, "x", {{"n", n}, {"D", p.d_in()}});
  Stream stream;
  Tensor<float> input;
  if (centred) {
    input = Tensor<float>(x.shape());
    centre_rows(x, p.b_dec.cview(), input.view(), stream);
  }
  const RowEntriesBuffer entries(n, choice.k, n * p.d_sae(), stream);
  EncodeSelect encoder(p.d_sae(), p.d_in());
  encoder.pack(p.W_enc.cview(), p.b_enc.cview(), stream);
  encoder.run({.x = centred ? input.cview() : x, .choice = choice, .out = entries.view()}, stream);
  compress(entries.view(), acts);
}

SaeExport export_common(const std::string& architecture, const SaeParameters& p) {
  return {.architecture = architecture,
          .d_in = p.d_in(),
          .d_sae = p.d_sae(),
          .first_feature = p.first_feature,
          .json_values = {},
          .tensors = {{"W_enc", TensorRole::encoder, p.W_enc.cview()},
                      {"b_enc", TensorRole::encoder_bias, p.b_enc.cview()},
                      {"W_dec", TensorRole::decoder, p.W_dec.cview()},
                      {"b_dec", TensorRole::decoder_bias, p.b_dec.cview()}}};
}

}  // namespace refract
