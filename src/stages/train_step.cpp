// The exchanges of one optimisation step (SPEC 6).
//
// ordered, 2 ranks, dictionary of panels p0 p1 | p2 p3 (64 features each):
//   r0 rows a, r1 rows b  --all-gather rows-->  both hold a b in row order
//   r0 sums p0 p1 over a b, r1 sums p2 p3 over a b
//   all_reduce: gradients are gathered, both update p0..p3
//   sharded:    each updates its own, weights are gathered
// fast:
//   r0 sums p0..p3 over a, r1 over b
//   all_reduce: sums are added everywhere
//   sharded:    the owner gets the sum of its panels, weights are gathered
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "refract/base/error.hpp"
#include "refract/base/parallel.hpp"
#include "refract/sae/initialise.hpp"
#include "refract/sae/optimizer.hpp"
#include "refract/sae/trainer_state.hpp"
#include "refract/sae/weight_gradients.hpp"
#include "refract/stages/scaled_hooks.hpp"
#include "refract/stages/train.hpp"

namespace refract {
namespace {

GlobalStats collective_add(const Stats& mine, Communicator& ranks) {
  Stats all{.counts = mine.counts, .slice_sums = {}, .width = mine.width};
  ranks.all_reduce_sum(all.counts);
  all.slice_sums = ranks.all_gather(std::span<const double>(mine.slice_sums));
  GlobalStats global;
  add_stats(all, global);
  return global;
}

template <typename T>
std::vector<T> gathered(Communicator& ranks, const std::vector<T>& mine) {
  return ranks.all_gather(std::span<const T>(mine));
}

Tensor<float> gathered(Communicator& ranks, TensorView<const float> mine, std::size_t rows) {
  const std::vector<float> all = ranks.all_gather(std::span<const float>(mine.span()));
  Tensor<float> out(Shape{rows, mine.axis(1)});
  std::ranges::copy(all, out.data());
  return out;
}

GradientTerm collective_gather_term(Communicator& ranks, const GradientTerm& mine,
                                    std::size_t rows) {
  GradientTerm all;
  all.v = gathered(ranks, mine.v.cview(), rows);
  std::vector<std::uint64_t> counts;
  for (std::size_t i = 0; i + 1 < mine.acts.row_starts.size(); ++i)
    counts.push_back(mine.acts.row_starts[i + 1] - mine.acts.row_starts[i]);
  all.acts.row_starts = {0};
  for (const std::uint64_t count : gathered(ranks, counts))
    all.acts.row_starts.push_back(all.acts.row_starts.back() + count);
  all.acts.features = gathered(ranks, mine.acts.features);
  all.acts.values = gathered(ranks, mine.acts.values);
  all.pre_grads = gathered(ranks, mine.pre_grads);
  all.threshold_grads = gathered(ranks, mine.threshold_grads);
  return all;
}

// Adam squares a gradient in fp32; from here on the square is infinite, and a weight whose second
// moment is infinite would never move again.
constexpr double kLargestGradient = 1.8e19;

// The largest magnitude; infinity when a value is not finite.
float largest(TensorView<const float> values) {
  float out = 0;
  for (const float value : values.span())
    out = std::isfinite(value) ? std::max(out, std::abs(value))
                               : std::numeric_limits<float>::infinity();
  return out;
}

// The input is finite (HookRowsOfRank looks), and a batch without an included row has no gradient:
// what is left is an overflow, of rows or of weights that are too large. Rows and fresh weights are
// of the order of 1, so it is the larger of the two; only weights are the learning rate's work.
[[noreturn]] void collective_refuse_gradient(const TrainedSae& sae, const Batch& batch, double norm,
                                             double clip, Communicator& ranks) {
  const SaeParameters& p = sae.state.parameters;
  const auto input = std::bit_cast<float>(static_cast<std::uint32_t>(
      ranks.all_reduce_max(std::bit_cast<std::uint32_t>(largest(batch.x)))));
  const float weight =
      std::max({largest(p.W_enc.cview()), largest(p.b_enc.cview()), largest(p.b_dec.cview())});
  const std::string what = fmt::format(
      "SAE '{}': the gradient overflows fp32 at step {} (norm {}; largest scaled input {}, largest "
      "weight {}).",
      sae.config.name, sae.state.step, std::abs(norm), input, weight);
  if (sae.state.step == 0 || input >= weight)
    throw NumericalError(
        "{} It is the input: set normalize: sqrt_d for this SAE, lower rows.sink_ratio so that "
        "such rows are excluded, or take another hook point than {}, in a new run folder.",
        what, hook_text(sae.config));
  throw NumericalError(
      "{} Training diverged: lower optimizer.lr of this SAE (now {}), or bound its steps by "
      "train.clip (now {}; 0 does not). A run that has a checkpoint needs a new folder for that.",
      what, sae.config.optimizer.lr, clip);
}

}  // namespace

void VisitLog::add(const StepLog& step) {
  ++steps;
  loss += step.loss;
  squared_error += step.squared_error;
  aux_loss += step.aux_loss;
  l0 += step.l0;
  grad_norm += step.grad_norm;
  lr = step.lr;
  dead = step.dead;
}

std::uint64_t dead_threshold(std::uint64_t chunk_rows, std::uint64_t train_rows) {
  return std::max(2 * chunk_rows, std::min<std::uint64_t>(10'000'000, train_rows / 10));
}

std::string weights_digest(const TrainedSae& sae) {
  return sae.weights_digest.empty() ? weights_digest(sae.state.parameters) : sae.weights_digest;
}

std::vector<TrainedSae> make_trained_saes(const std::vector<SaeConfig>& saes,
                                          const CalibrationData& calibration,
                                          std::uint64_t dead_after_rows) {
  std::vector<TrainedSae> out;
  for (const SaeConfig& config : saes) {
    const ScaledHooks input = scaled_input(config, calibration);
    TrainedSae sae;
    sae.config = config;
    sae.input_scale = input.parts.front().scale;
    sae.variant = make_variant(config, input.width(), dead_after_rows);
    sae.scratch = sae.variant->make_scratch();
    sae.state = initial_state(config, *sae.variant, input.geometric_median);
    out.push_back(std::move(sae));
  }
  return out;
}

StepRunner::StepRunner(const TrainConfig& config, std::uint64_t total_steps, Communicator& ranks)
    : config_(config),
      total_steps_(total_steps),
      ranks_(ranks),
      exchange_(make_exchange(ranks)),
      sharded_(config.exchange == "sharded") {}

std::vector<std::size_t> StepRunner::features_of_ranks(std::size_t d_sae) const {
  const std::size_t panels = (d_sae + kPanelFeatures - 1) / kPanelFeatures;
  std::vector<std::size_t> counts;
  for (int r = 0; r < ranks_.size(); ++r) {
    const Share share = share_of(panels, r, ranks_.size());
    counts.push_back(std::min(d_sae, (share.first + share.count) * kPanelFeatures) -
                     std::min(d_sae, share.first * kPanelFeatures));
  }
  return counts;
}

void StepRunner::collective_ordered_gradients(TrainedSae& sae, const Batch& batch,
                                              RowGradients& rows, FeatureGradients& own,
                                              PanelSums& sums) {
  WeightGradients gradients;
  if (ranks_.size() == 1) {
    gradients.gather(sae.state.parameters, batch.x, rows);
    gradients.accumulate(sae.state.parameters, own);
  } else {
    const Tensor<float> x = gathered(ranks_, batch.x, batch.rows);
    RowGradients all;
    for (const GradientTerm& term : rows.terms)
      all.terms.push_back(collective_gather_term(ranks_, term, batch.rows));
    gradients.gather(sae.state.parameters, x.cview(), all);
    gradients.accumulate(sae.state.parameters, own);
  }
  finish_gradients(sae.state.parameters, own, sums);
}

void StepRunner::collective_fast_gradients(TrainedSae& sae, const Batch& batch, RowGradients& rows,
                                           FeatureGradients& own, PanelSums& sums) {
  const SaeParameters& parameters = sae.state.parameters;
  const std::size_t features = parameters.d_sae(), d = parameters.d_in();
  FeatureGradients local = make_feature_gradients(parameters, 0, features);
  WeightGradients gradients;
  gradients.gather(parameters, batch.x, rows);
  gradients.accumulate(parameters, local);
  const std::vector<std::size_t> shares = features_of_ranks(features);
  const auto reduce = [&](Tensor<float>& whole, Tensor<float>& mine, std::size_t width) {
    if (whole.size() == 0) return;
    std::vector<std::size_t> counts;
    for (const std::size_t share : shares) counts.push_back(share * width);
    exchange_->reduce_scatter_sum(whole.cview(), counts, mine.view(), stream_);
  };
  reduce(local.dW_enc, own.dW_enc, d);
  reduce(local.db_enc, own.db_enc, 1);
  reduce(local.dW_dec, own.dW_dec, d);
  reduce(local.dthreshold, own.dthreshold, 1);
  finish_gradients(parameters, own, sums);
}

void StepRunner::collective_gather_features(TensorView<float> whole, std::size_t d_sae) {
  if (ranks_.size() == 1 || whole.size() == 0) return;
  std::vector<std::size_t> counts = features_of_ranks(d_sae);
  for (std::size_t& count : counts) count *= whole.size() / d_sae;
  exchange_->all_gather(whole, counts, stream_);
}

void StepRunner::collective_gather_rows(const FeatureGradients& own, FeatureGradients& all) {
  const std::size_t features = all.count, d = all.dW_enc.axis(1);
  const auto place = [&](const Tensor<float>& from, Tensor<float>& to, std::size_t width) {
    if (to.size() == 0) return;
    std::ranges::copy(from.span(), to.data() + own.first * width);
    collective_gather_features(to.view(), features);
  };
  place(own.dW_enc, all.dW_enc, d);
  place(own.db_enc, all.db_enc, 1);
  place(own.dW_dec, all.dW_dec, d);
  place(own.dthreshold, all.dthreshold, 1);
}

StepLog StepRunner::collective_step(TrainedSae& sae, const Batch& batch) {
  const Variant& variant = *sae.variant;
  SaeState& state = sae.state;
  sae.weights_digest.clear();
  const std::size_t features = state.parameters.d_sae();

  std::vector<GlobalStats> global;
  for (int round = 0; round < variant.measure_rounds(); ++round) {
    Stats stats;
    variant.measure(round, state, batch, global, *sae.scratch, stats);
    global.push_back(collective_add(stats, ranks_));
  }
  RowGradients rows;
  variant.gradients(state, batch, global, *sae.scratch, rows);

  const std::vector<std::size_t> shares = features_of_ranks(features);
  std::size_t first = 0;
  for (int r = 0; r < ranks_.rank(); ++r) first += shares[static_cast<std::size_t>(r)];
  FeatureGradients own = make_feature_gradients(state.parameters, first,
                                                shares[static_cast<std::size_t>(ranks_.rank())]);
  PanelSums mine;
  // On one rank the two are the same sums; the exchange is the identity.
  if (config_.reduction == "ordered" || ranks_.size() == 1)
    collective_ordered_gradients(sae, batch, rows, own, mine);
  else
    collective_fast_gradients(sae, batch, rows, own, mine);

  const PanelSums panels{gathered(ranks_, mine.squared_norm), gathered(ranks_, mine.db_dec)};
  std::vector<double> decoder_part(state.parameters.d_in());
  variant.decoder_bias_gradient(global, decoder_part);
  const BiasGradient bias = bias_gradient(decoder_part, panels);
  const double norm = std::sqrt(bias.squared_norm), scale = clip_scale(norm, config_.clip);
  if (!(norm * scale < kLargestGradient))
    collective_refuse_gradient(sae, batch, norm, config_.clip, ranks_);

  const AdamStep adam{.config = sae.config.optimizer,
                      .lr = learning_rate(sae.config.optimizer, state.step, total_steps_),
                      .gradient_scale = scale,
                      .step = state.step + 1};
  if (sharded_ || ranks_.size() == 1) {
    adam_update(state, own, adam);
    for (const auto& [tensor_name, tensor] : named_tensors(state.parameters))
      if (tensor_name != "b_dec") collective_gather_features(tensor, features);
  } else {
    FeatureGradients all = make_feature_gradients(state.parameters, 0, features);
    collective_gather_rows(own, all);
    adam_update(state, all, adam);
  }
  adam_update_b_dec(state, bias.db_dec, adam);
  ++state.step;

  StepLog log;
  variant.finish(state, batch, global, log);
  if (batch.first_pass) state.trained_rows += log.included_rows;
  log.grad_norm = norm;
  log.lr = adam.lr;
  return log;
}

void StepRunner::collective_gather_moments(TrainedSae& sae) {
  if (!sharded_) return;
  for (const SaeParameters* moment : {&sae.state.m, &sae.state.v})
    for (const auto& [tensor_name, tensor] : named_tensors(*moment))
      if (tensor_name != "b_dec") collective_gather_features(tensor, sae.state.parameters.d_sae());
}

}  // namespace refract
