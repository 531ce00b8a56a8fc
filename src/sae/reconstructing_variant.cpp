#include "sae/reconstructing_variant.hpp"

#include <algorithm>
#include <utility>

#include "refract/base/error.hpp"
#include "refract/ops/add.hpp"
#include "refract/ops/feature_ages.hpp"
#include "refract/ops/gather_rows.hpp"

namespace refract {

bool input_is_centred(const SaeConfig& config) { return !is_transcoder(config); }

ReconstructingVariant::ReconstructingVariant(const SaeConfig& config, std::size_t d_in,
                                             std::uint64_t dead_after_rows, Own own)
    : centred_(input_is_centred(config)),
      own_(std::move(own)),
      aux_coefficient_(config.aux.coefficient),
      aux_k_(config.aux.coefficient != 0
                 ? std::min(config.aux.k != 0 ? config.aux.k : d_in / 2, config.d_sae)
                 : 0),
      dead_after_rows_(dead_after_rows),
      penalty_(config) {
  std::size_t first = 0;
  for (std::size_t i = 0; i < own_.prefixes.size(); ++i)
    pieces_.push_back(
        {kPrefixError + i, {std::exchange(first, own_.prefixes[i]), own_.prefixes[i]}});
  pieces_.push_back({kMainError, {first, config.d_sae}});
  if (has_aux() || own_.second == Second::gate) pieces_.push_back({kSecondError, {}});
}

StepShape ReconstructingVariant::shape() const {
  StepShape shape = selection();
  REFRACT_ASSERT(shape.rounds.size() == own_.selection_rounds,
                 "{} rounds of selection, expected {}", shape.rounds.size(), own_.selection_rounds);
  shape.aux_k = has_aux() ? aux_k_ : 0;
  shape.second = own_.second == Second::gate || own_.second == Second::window;
  shape.second_error = own_.second == Second::gate;
  shape.prefixes = own_.prefixes.size();
  shape.norms = penalty_.needs_norms();
  shape.rates = penalty_.needs_rates();
  for (std::size_t i = 0; i < pieces_.size(); ++i)
    shape.rounds.push_back({.rates = i == 0 && shape.rates, .error = pieces_[i].error});
  shape.rounds.push_back({.statistics = true});
  return shape;
}

void ReconstructingVariant::measure(std::size_t round, const Step& step) const {
  if (round == 0) begin(step);
  if (round < own_.selection_rounds) return select(round, step);
  if (round == own_.selection_rounds) {
    keep(step);
    if (penalty_.needs_rates()) penalty_.sum_rates(penalised(step), step);
  }
  reconstruct(round - own_.selection_rounds, step);
}

void ReconstructingVariant::prepare(const Step& step) const {
  list_dead(step.state.age.cview(), dead_after_rows_, step.buffers.dead_features(), step.stream);
}

void ReconstructingVariant::begin(const Step& step) const {
  const SaeParameters& p = step.state.parameters;
  if (centred_)
    centre_rows(step.batch.x, p.b_dec.cview(), step.buffers.centred.view(), step.stream);
  step.buffers.encoder.pack(p.W_enc.cview(), p.b_enc.cview(), step.stream);
  if (penalty_.needs_norms()) row_norms(p.W_dec.cview(), step.buffers.norms.view(), step.stream);
}

std::optional<AuxSelection> ReconstructingVariant::aux_selection(const Step& step) const {
  if (!has_aux()) return std::nullopt;
  return AuxSelection{step.buffers.dead_features(), aux_k_, step.buffers.second.view()};
}

void ReconstructingVariant::select_by(const Choice& choice, const Step& step) const {
  const std::optional<AuxSelection> aux = aux_selection(step);
  step.buffers.encoder.run({.x = step.input(),
                            .included = step.batch.included,
                            .choice = choice,
                            .out = step.buffers.entries.view(),
                            .aux = aux ? &*aux : nullptr},
                           step.stream);
}

// A gate's penalty is of the gate.
RowEntries ReconstructingVariant::penalised(const Step& step) const {
  return own_.second == Second::gate ? step.buffers.second.view() : step.buffers.entries.view();
}

// What is left to explain: of a transcoder the target without b_dec.
TensorView<const float> ReconstructingVariant::to_explain(const Step& step) const {
  return centred_ ? step.buffers.centred.cview() : step.buffers.centred_target.cview();
}

TensorView<const float> ReconstructingVariant::base_of(std::size_t piece, const Step& step) const {
  if (pieces_[piece].error == kSecondError)
    return own_.second == Second::gate ? to_explain(step) : step.buffers.error[kMainError].cview();
  return piece == 0 ? to_explain(step) : step.buffers.error[pieces_[piece - 1].error].cview();
}

FeatureBounds ReconstructingVariant::in_tile(const FeatureBounds& of, const Step& step) const {
  const std::size_t before = step.state.parameters.first_feature;
  return {of.first - std::min(of.first, before), of.end - std::min(of.end, before)};
}

// Where a row is dealt to several tiles, the round before left the sum of what they add.
void ReconstructingVariant::subtract_partial(std::size_t piece, const Step& step) const {
  if (!step.whole_rows())
    subtract_from(base_of(piece, step), step.buffers.error[pieces_[piece].error].view(),
                  step.stream);
}

void ReconstructingVariant::reconstruct(std::size_t round, const Step& step) const {
  StepBuffers& own = step.buffers;
  if (round == 0 && !centred_)
    centre_rows(step.batch.target, step.state.parameters.b_dec.cview(), own.centred_target.view(),
                step.stream);
  if (round > 0) subtract_partial(round - 1, step);
  if (round == pieces_.size()) return summarise(step);
  const Piece& piece = pieces_[round];
  const bool whole = step.whole_rows(), second = piece.error == kSecondError;
  decode_rows(
      second ? own.second.view() : own.entries.view(), step.state.parameters.W_dec.cview(),
      whole ? base_of(round, step) : TensorView<const float>(), own.error[piece.error].view(),
      whole && second && has_aux() ? own.dead_count.cview() : TensorView<const std::uint64_t>(),
      step.stream, in_tile(piece.of, step));
}

void ReconstructingVariant::summarise(const Step& step) const {
  StepBuffers& own = step.buffers;
  count_entries(own.entries.view(), step.batch.included, own.counts.view(), step.stream);
  const bool rates = penalty_.needs_rates();
  if (rates) penalty_.finish_rates(step);
  std::array<TensorView<const float>, kMostPrefixes> prefixes;
  for (std::size_t i = 0; i < own_.prefixes.size(); ++i)
    prefixes[i] = own.error[kPrefixError + i].cview();
  sum_slices({.included = step.batch.included,
              .entries = own.entries.view(),
              .penalised = penalised(step),
              .penalty = penalty_.of_entries(own),
              .whole_penalty = rates && step.batch.first_row == 0 ? own.rate_penalty.cview()
                                                                  : TensorView<const double>(),
              .error = own.error[kMainError].cview(),
              .aux_error = own.error[kSecondError].cview(),
              .any_dead = has_aux() ? own.all_dead.cview() : TensorView<const std::uint64_t>(),
              .prefix_errors = std::span(prefixes).first(own_.prefixes.size()),
              .errors = own.part.tile == 0},
             step.batch.slice_rows, own.own_slices(), step.stream);
}

void ReconstructingVariant::weigh(const Step& step) const {
  StepBuffers& own = step.buffers;
  LossTerms terms{.aux_coefficient = has_aux()                     ? aux_coefficient_
                                     : own_.second == Second::gate ? 1
                                                                   : 0,
                  .aux_is_relative = own_.second != Second::gate};
  penalty_.weigh(step.state.step, terms);
  loss_scalars(own.sums.cview(), own.d_out(), own.counts.cview().rows(own.counts.size() - 1, 1),
               terms, own.scalars.view(), step.stream);
  // A feature of one prefix is of all larger ones too: what moves it is the sum of their errors.
  for (std::size_t i = own_.prefixes.size(); i-- > 0;)
    add(own.error[pieces_[i].error].view(), own.error[pieces_[i + 1].error].cview(), step.stream);
}

GradientTerm ReconstructingVariant::main_term(const Step& step, const GradientRows& rows) const {
  const StepBuffers& own = step.buffers;
  const SaeParameters& p = step.state.parameters;
  GradientTerm term{.entries = own.by_feature[0].view(),
                    .error = rows.error[kMainError],
                    .factor = own.scalar(kErrorFactor)};
  if (own_.second == Second::gate) {
    term.through = Through::gain;
    term.further = {p.b_mag.cview(), p.r_mag.cview()};
  } else {
    term.per_entry = own.scalar(kPerEntry);
    term.penalty = penalty_.of_entries(own);
  }
  return term;
}

GradientTerm ReconstructingVariant::second_term(const Step& step, const GradientRows& rows) const {
  const StepBuffers& own = step.buffers;
  GradientTerm term{.entries = own.by_feature[1].view(),
                    .error = rows.error[kSecondError],
                    .factor = own.scalar(kAuxFactor)};
  if (own_.second == Second::aux_k) return term;
  term.per_entry = own.scalar(kPerEntry);
  term.penalty = penalty_.of_entries(own);
  term.moves_decoder = false;
  if (own_.second == Second::gate) return term;
  term.error = rows.error[kMainError];
  term.factor = own.scalar(kErrorFactor);
  term.through = Through::threshold;
  term.further = {step.state.parameters.threshold.cview()};
  term.per_count = own.scalar(kPerCount);
  term.bandwidth = static_cast<float>(own_.bandwidth);
  return term;
}

void ReconstructingVariant::gradients(const Step& step, const GradientRows& rows, std::size_t first,
                                      TensorView<float> out) const {
  std::array<GradientTerm, kMostTerms> terms{main_term(step, rows), {}};
  if (step.buffers.terms > 1) terms[1] = second_term(step, rows);
  const std::size_t end = first + out.axis(0);
  for (const Piece& piece : pieces_) {
    if (piece.error == kSecondError) continue;
    const FeatureBounds of = in_tile(piece.of, step);
    const std::size_t from = std::max(first, of.first), to = std::min(end, of.end);
    if (from >= to) continue;
    terms[0].error = rows.error[piece.error];
    feature_gradients({.input = rows.input,
                       .terms = std::span(terms).first(step.buffers.terms),
                       .W_dec = step.state.parameters.W_dec.cview()},
                      from, out.rows(from - first, to - from), step.stream);
  }
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
                 const Choice& choice, SparseActs& acts, const Refinement* refinement) {
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
  if (!refinement) return compress(entries.view(), acts);
  const RowEntriesBuffer refined(n, 0, n * p.d_sae(), stream);
  refine_entries(entries.view(), *refinement, refined.view(), stream);
  compress(refined.view(), acts);
}

SaeExport export_common(const std::string& architecture, const SaeParameters& p) {
  return {.architecture = architecture,
          .d_in = p.d_in(),
          .d_sae = p.d_sae(),
          .first_feature = p.first_feature,
          .json_values = {},
          .free_rows = p.decoder.free_norm,
          .tensors = {{"W_enc", TensorRole::encoder, p.W_enc.cview()},
                      {"b_enc", TensorRole::encoder_bias, p.b_enc.cview()},
                      {"W_dec", TensorRole::decoder, p.W_dec.cview()},
                      {"b_dec", TensorRole::decoder_bias, p.b_dec.cview()}}};
}

}  // namespace refract
