// The exchanges of one optimisation step (SPEC 6).
//
// ordered, 2 ranks, dictionary of panels p0 p1 | p2 p3 (64 features each):
//   r0 rows a, r1 rows b  --all-gather rows-->  both hold a b in row order
//   r0 sums p0 p1 over a b, r1 sums p2 p3 over a b
//   all_reduce: gradients are gathered, both update p0..p3
//   sharded:    each updates its own, weights are gathered
// fast, ranks of one column:
//   r0 sums p0..p3 over a, r1 over b, some panels at a time
//   all_reduce: sums are added everywhere
//   sharded:    the owner gets the sum of its panels, weights are gathered
#include "refract/stages/train_step.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

#include "refract/base/error.hpp"
#include "refract/ops/batch_top.hpp"
#include "refract/ops/feature_ages.hpp"
#include "refract/ops/weight_mean.hpp"
#include "refract/sae/optimizer.hpp"
#include "refract/stages/resample.hpp"
#include "refract/stages/train.hpp"

namespace refract {
namespace {

// Gradients are computed and sent so much at a time: a rank holds no more of those that another
// owns.
constexpr std::size_t kBucketBytes = std::size_t{32} << 20;

template <typename T>
std::size_t width_of(TensorView<T> tensor) {  // elements of a feature
  return tensor.shape().rank() == 1 ? 1 : tensor.axis(1);
}

// The input is finite (train.cpp looks), and a batch without an included row has no gradient: what
// is left is an overflow, of rows or of weights that are too large. Rows and fresh weights are of
// the order of 1, so it is the larger of the two; only weights are the learning rate's work.
[[noreturn]] void collective_refuse_gradient(const TrainedSae& sae, std::uint64_t step,
                                             std::span<const double> scalars, double clip,
                                             Communicator& ranks) {
  const auto largest_of_all = [&](double mine) {
    return std::bit_cast<float>(static_cast<std::uint32_t>(
        ranks.all_reduce_max(std::bit_cast<std::uint32_t>(static_cast<float>(mine)))));
  };
  const float input = largest_of_all(scalars[kLargestInput]),
              weight = largest_of_all(scalars[kLargestWeight]);
  const std::string what = fmt::format(
      "SAE '{}': the gradient overflows fp32 at step {} (norm {}; largest normalised input {}, "
      "largest "
      "weight {}).",
      sae.config.name, step, std::abs(scalars[kNorm]), input, weight);
  if (step == 0 || input >= weight)
    throw NumericalError(
        "{} It is the input: set normalize: sqrt_d for this SAE, lower rows.sink_ratio so that "
        "such rows are excluded, or take another hook point than {}, in a new run folder.",
        what, hook_text(sae.config));
  throw NumericalError(
      "{} Training diverged: lower optimizer.lr of this SAE (now {}), or bound its steps by "
      "train.clip (now {}; 0 does not). A run that has a checkpoint needs a new folder for that.",
      what, sae.config.optimizer.lr, clip);
}

// Every rank's rows, in row order, in memory of their own.
struct AllEntries {
  std::vector<std::uint64_t> starts;
  std::vector<std::uint32_t> counts, features;
  std::vector<float> values;
  [[nodiscard]] RowEntries view() {
    return {{starts.data(), Shape{starts.size()}},
            {counts.data(), Shape{counts.size()}},
            {features.data(), Shape{features.size()}},
            {values.data(), Shape{values.size()}},
            {},
            0};
  }
};
AllEntries collective_gather(Communicator& ranks, const RowEntries& mine) {
  SparseActs own;
  compress(mine, own);
  AllEntries all;
  all.counts = ranks.all_gather(std::span<const std::uint32_t>(mine.counts.span()));
  all.features = ranks.all_gather(std::span<const std::uint32_t>(own.features));
  all.values = ranks.all_gather(std::span<const float>(own.values));
  all.starts.resize(all.counts.size());
  std::exclusive_scan(all.counts.begin(), all.counts.end(), all.starts.begin(), std::uint64_t{0});
  return all;
}

std::vector<float> collective_gather(Communicator& ranks, TensorView<const float> mine) {
  return ranks.all_gather(std::span<const float>(mine.span()));
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

const SaeParameters& TrainedSae::used() const {
  if (!state.mean) return state.parameters;
  if (!usable_mean) usable_mean = refract::usable_mean(*state.mean);
  return *usable_mean;
}

bool is_whole_on_host(const TrainedSae& sae) {
  const SaeParameters& part = sae.state.parameters;
  return part.d_sae() == sae.config.d_sae && part.device().kind == DeviceKind::cpu;
}

StepRunner::StepRunner(const TrainConfig& config, std::uint64_t total_steps, Mesh mesh)
    : config_(config),
      total_steps_(total_steps),
      sharded_(config.exchange == "sharded"),
      ordered_(config.reduction == "ordered"),
      mesh_(std::move(mesh)),
      stream_(mesh_.device()) {
  if (ordered_ && mesh_.shape().features > 1)
    throw ConfigError(
        "train.reduction ordered adds in the order of one rank, which a dictionary that is dealt "
        "to ranks cannot: set train.mesh to features: 1, or train.reduction: fast.");
  if (ordered_ && mesh_.device().kind != DeviceKind::cpu)
    throw ConfigError(
        "train.reduction ordered is promised on the CPU alone: set device: cpu, or "
        "train.reduction: fast.");
  if (config.dtype == "bf16" && !encodes_in_bf16(mesh_.device()))
    throw ConfigError("train.dtype is bf16, but {}. Set train.dtype: fp32.",
                      mesh_.device().kind == DeviceKind::cpu
                          ? "this processor has no AVX-512-BF16"
                          : "products in bf16 are not built for CUDA");
}

StepRunner::StepRunner(const TrainConfig& config, std::uint64_t total_steps, Communicator& ranks)
    : StepRunner(config, total_steps,
                 Mesh::collective_make(
                     ranks, {.rows = static_cast<std::size_t>(ranks.size()), .features = 1})) {}

StepPart StepRunner::part_of(const TrainedSae& sae, const Batch& batch) const {
  const FeatureRange tile = mesh_.tile_of(sae.config.d_sae),
                     own = mesh_.own_of(sae.config.d_sae, sharded_);
  return {.rows = batch.x.axis(0),
          .batch_rows = batch.rows,
          .slice_rows = batch.slice_rows,
          .first_row = batch.first_row,
          .tiles_of_row = mesh_.shape().features,
          .tile = mesh_.column(),
          .dictionary = sae.config.d_sae,
          .gathers_rows = ordered_ && mesh_.shape().rows > 1,
          .gradient_features = own.count,
          .first_gradient = own.first - tile.first,
          .product = dtype_from_name(config_.dtype)};
}

void StepRunner::collective_prepare(TrainedSae& sae, const Batch& batch) {
  const StepPart part = part_of(sae, batch);
  if (sae.buffers && sae.buffers->part == part) return;
  if (sae.buffers) collective_finish(sae);
  if (const std::size_t panels = panels_of(sae.config.d_sae); panels < mesh_.shape().features)
    throw ConfigError(
        "SAE '{}' has {} panels of {} features, fewer than the {} columns of train.mesh: give the "
        "mesh fewer.",
        sae.config.name, panels, kPanelFeatures, mesh_.shape().features);
  if (sae.config.resample.every_steps != 0 && mesh_.shape().features > 1)
    throw ConfigError(
        "SAE '{}' resamples dead features, which a dictionary that is dealt to ranks cannot: set "
        "train.mesh to features: 1, or resample.every_steps: 0.",
        sae.config.name);
  sae.buffers = std::make_unique<StepBuffers>(sae.variant->shape(), sae.state.parameters.shape(),
                                              part, input_is_centred(sae.config), stream_);
  sae.variant->prepare({sae.state, batch, *sae.buffers, stream_, sae.config.k});
  collective_sum_dead(sae);
}

void StepRunner::collective_sum_dead(TrainedSae& sae) {
  StepBuffers& own = *sae.buffers;
  copy_tensor(own.dead_count.cview(), own.all_dead.view(), stream_);
  mesh_.along_row().all_reduce_sum(own.all_dead.view(), stream_);
}

// The rows' candidates of all their tiles, of which each keeps its own that are among the best.
void StepRunner::collective_merge(const RowEntries& entries, std::size_t k, bool by_magnitude,
                                  const Step& step) {
  const std::size_t ranks = mesh_.shape().features, n = entries.rows(), places = entries.per_row;
  if (ranks == 1 || places == 0) return;
  if (merged_values_.size() < ranks * n * places)
    merged_values_ = Tensor<float>(Shape{ranks * n * places}, mesh_.device());
  if (merged_counts_.size() < ranks * n)
    merged_counts_ = Tensor<std::uint32_t>(Shape{ranks * n}, mesh_.device());
  const TensorView<float> values = merged_values_.view().rows(0, ranks * n * places);
  const TensorView<std::uint32_t> counts = merged_counts_.view().rows(0, ranks * n);
  copy_tensor(entries.values, values.rows(mesh_.column() * n * places, n * places), stream_);
  copy_tensor(entries.counts, counts.rows(mesh_.column() * n, n), stream_);
  mesh_.along_row().all_gather(values, std::vector<std::size_t>(ranks, n * places), stream_);
  mesh_.along_row().all_gather(counts, std::vector<std::size_t>(ranks, n), stream_);
  keep_merged({values.data(), Shape{ranks, n, places}, values.device()},
              {counts.data(), Shape{ranks, n}, counts.device()},
              {.rank = mesh_.column(), .k = k, .by_magnitude = by_magnitude}, entries, step.stream);
}

void StepRunner::collective_sum(const Round& round, TrainedSae& sae) {
  StepBuffers& own = *sae.buffers;
  const bool alone = mesh_.ranks().size() == 1;
  if (round.histogram) mesh_.all().all_reduce_sum(own.histogram.view(), stream_);
  if (round.error) mesh_.along_row().all_reduce_sum(own.error[*round.error].view(), stream_);
  if (round.rates) mesh_.along_column().all_reduce_sum(own.rates.view(), stream_);
  if (!round.statistics) return;
  const TensorView<double> slices = own.own_slices();
  mesh_.along_row().all_reduce_sum(slices, stream_);
  const std::size_t count = own.part.batch_rows / own.part.slice_rows;
  if (!alone)
    mesh_.along_column().all_gather(own.slice_sums.view(),
                                    mesh_.slices_of_rows(count, own.sums.size()), stream_);
  add_slices(own.slice_sums.cview(), own.sums.view(), stream_);
  mesh_.along_column().all_reduce_sum(own.counts.view(), stream_);
}

// ordered: each rank sums its own features over the rows of all.
void StepRunner::collective_gradients_of_all_rows(TrainedSae& sae, const Step& step) {
  StepBuffers& own = *sae.buffers;
  const std::size_t rows = own.part.batch_rows, terms = own.terms;
  Communicator& ranks = mesh_.ranks();
  std::vector<float> input = collective_gather(ranks, step.input());
  std::array<std::vector<float>, kMostErrors> errors;
  std::array<AllEntries, kMostTerms> entries;
  GradientRows all;
  all.input = {input.data(), Shape{rows, step.input().axis(1)}};
  for (std::size_t i = 0; i < kMostErrors; ++i) {
    if (own.error[i].size() == 0) continue;
    errors[i] = collective_gather(ranks, own.error[i].cview());
    all.error[i] = {errors[i].data(), Shape{rows, own.d_out()}};
  }
  for (std::size_t t = 0; t < terms; ++t) {
    entries[t] = collective_gather(ranks, t == 0 ? own.entries.view() : own.second.view());
    all.entries[t] = entries[t].view();
    sort_by_feature(all.entries[t], own.by_feature[t], stream_);
  }
  const FeatureRange tile = mesh_.tile_of(sae.config.d_sae),
                     mine = mesh_.own_of(sae.config.d_sae, true);
  const std::size_t first = mine.first - tile.first;
  const TensorView<float> to =
      own.gradients.view().rows(first - own.part.first_gradient, mine.count);
  sae.variant->gradients(step, all, first, to);
  if (!sharded_)
    mesh_.along_column().all_gather(own.gradients.view(),
                                    feature_counts(tile, mesh_.shape().rows, own.gradients.axis(1)),
                                    stream_);
}

// fast: each rank sums all features of its tile over its own rows, some at a time.
void StepRunner::collective_gradients_of_own_rows(TrainedSae& sae, const Step& step) {
  StepBuffers& own = *sae.buffers;
  const GradientRows rows = step.own_rows();
  for (std::size_t t = 0; t < own.terms; ++t)
    sort_by_feature(rows.entries[t], own.by_feature[t], stream_);
  const FeatureRange tile{0, sae.state.parameters.d_sae()};
  const std::size_t ranks = mesh_.shape().rows, width = own.gradients.axis(1);
  if (ranks == 1) return sae.variant->gradients(step, rows, 0, own.gradients.view());
  const std::size_t fit =
      std::max<std::size_t>(1, kBucketBytes / sizeof(float) / width / kPanelFeatures) *
      kPanelFeatures;
  if (!sharded_) {
    for (std::size_t first = 0; first < tile.count; first += fit) {
      const TensorView<float> some =
          own.gradients.view().rows(first, std::min(fit, tile.count - first));
      sae.variant->gradients(step, rows, first, some);
      mesh_.along_column().all_reduce_sum(some, stream_);
    }
    return;
  }
  // A bucket holds some features of every owner, and goes to all of them at once.
  const std::size_t each = std::max(kPanelFeatures, fit / ranks / kPanelFeatures * kPanelFeatures);
  if (bucket_.size() < ranks * each * width)
    bucket_ = Tensor<float>(Shape{ranks * each * width}, mesh_.device());
  const std::size_t longest = std::ranges::max(feature_counts(tile, ranks, 1));
  for (std::size_t done = 0; done < longest; done += each) {
    std::vector<std::size_t> counts;
    std::size_t at = 0, mine = 0;
    for (std::size_t owner = 0; owner < ranks; ++owner) {
      const FeatureRange part = features_of_part(tile, owner, ranks);
      const std::size_t count = std::min(each, part.count - std::min(part.count, done));
      const TensorView<float> some(bucket_.data() + at, Shape{count, width}, mesh_.device());
      if (count > 0) sae.variant->gradients(step, rows, part.first + done, some);
      if (owner == mesh_.row()) mine = count;
      counts.push_back(count * width);
      at += count * width;
    }
    mesh_.along_column().reduce_scatter_sum(
        TensorView<const float>(bucket_.view().rows(0, at)), counts,
        own.gradients.view().rows(std::min(done, own.gradients.axis(0)), mine), stream_);
  }
}

void StepRunner::collective_gradients(TrainedSae& sae, const Step& step) {
  StepBuffers& own = *sae.buffers;
  if (own.part.gathers_rows)
    collective_gradients_of_all_rows(sae, step);
  else
    collective_gradients_of_own_rows(sae, step);
  const SaeParameters& p = sae.state.parameters;
  const std::size_t count = own.part.gradient_features, first = own.part.first_gradient,
                    dictionary = own.part.dictionary, width = own.panels.axis(1);
  const FeatureRange tile = mesh_.tile_of(dictionary);
  finish_gradients(
      {.W_enc = p.W_enc.cview().rows(first, count),
       .W_dec = p.W_dec.cview().rows(first, count),
       .decoder = p.decoder,
       .input_is_centred = input_is_centred(sae.config),
       .r_mag = p.is_gated() ? p.r_mag.cview().rows(first, count) : TensorView<const float>()},
      own.gradients.view(), own.panels.view().rows(panels_of(tile.first + first), panels_of(count)),
      stream_);
  const auto panel_counts = [&](const std::vector<std::size_t>& features) {
    std::vector<std::size_t> counts;
    for (const std::size_t some : features) counts.push_back(panels_of(some) * width);
    return counts;
  };
  if (sharded_)
    mesh_.along_column().all_gather(
        own.panels.view().rows(panels_of(tile.first), panels_of(tile.count)),
        panel_counts(feature_counts(tile, mesh_.shape().rows, 1)), stream_);
  if (mesh_.shape().features > 1)
    mesh_.along_row().all_gather(
        own.panels.view(), panel_counts(feature_counts({0, dictionary}, mesh_.shape().features, 1)),
        stream_);
}

void StepRunner::collective_gather_weights(TrainedSae& sae) {
  if (!sharded_) return;
  const FeatureRange tile{0, sae.state.parameters.d_sae()};
  for (const auto& [tensor_name, tensor] : named_tensors(sae.state.parameters)) {
    if (!has_feature_axis(tensor_name)) continue;
    if (tensor_name == "threshold" && !trains_threshold(sae.config)) continue;
    mesh_.along_column().all_gather(
        tensor, feature_counts(tile, mesh_.shape().rows, width_of(tensor)), stream_);
  }
}

// By every rank for the features that it holds.
void StepRunner::follow_mean(TrainedSae& sae) {
  if (!sae.state.mean) return;
  const float rate = weight_mean_rate(sae.config.ema, sae.state.step + 1);
  const auto weights = named_tensors(sae.state.parameters), means = named_tensors(*sae.state.mean);
  for (std::size_t i = 0; i < means.size(); ++i)
    follow_weights(weights[i].second, rate, sae.buffers->scalars.cview(), means[i].second, stream_);
}

void StepRunner::collective_step(TrainedSae& sae, const Batch& batch) {
  collective_prepare(sae, batch);
  const Variant& variant = *sae.variant;
  SaeState& state = sae.state;
  StepBuffers& own = *sae.buffers;
  const Step step{state, batch, own, stream_, k_of_step(sae.config, state.step, total_steps_)};
  sae.weights_digest.clear();
  sae.usable_mean.reset();

  const std::vector<Round>& rounds = own.rounds;
  for (std::size_t round = 0; round < rounds.size(); ++round) {
    variant.measure(round, step);
    if (rounds[round].candidates) {
      collective_merge(own.entries.view(), step.k, own.by_magnitude, step);
      collective_merge(own.second.view(), own.second.view().per_row, false, step);
    }
    collective_sum(rounds[round], sae);
  }
  variant.weigh(step);
  collective_gradients(sae, step);
  bias_gradient(own.bias_errors(), own.panels.cview(), config_.clip, own.db_dec.view(),
                own.scalars.view(), stream_);
  SaeParameters& p = state.parameters;
  explain_overflow(batch.x, p.W_enc.cview(), p.b_enc.cview(), p.b_dec.cview(), own.scalars.view(),
                   stream_);

  const double lr = learning_rate(sae.config.optimizer, state.step, total_steps_);
  const AdamNumbers numbers = adam_numbers(sae.config.optimizer, lr, state.step + 1);
  adam_rows(own.gradients.cview(), adam_rows_of(state, trains_threshold(sae.config)), numbers,
            own.scalars.cview(), stream_);
  adam_vector(own.db_dec.cview(), p.b_dec.view(), state.m.b_dec.view(), state.v.b_dec.view(),
              numbers, own.scalars.cview(), stream_);
  collective_gather_weights(sae);

  variant.finish(step);
  follow_mean(sae);
  collective_sum_dead(sae);
  note_dead(own.all_dead.cview(), own.scalars.view(), stream_);
  StepBuffers::Record& record = own.records[state.step % 2];
  copy_tensor(own.scalars.cview(), TensorView<double>(record.scalars.data(), Shape{kStepScalars}),
              stream_);
  record.written.record(stream_);
  record.pending = true;
  record.step = state.step;
  record.lr = lr;
  record.first_pass = batch.first_pass;
  if (state.step > 0) read_log(sae, state.step - 1);
  ++state.step;
  if (resamples_after(sae.config, state.step, total_steps_)) collective_resample_dead(sae, batch);
}

// Between steps: the host waits for the one before, and reads of it what it needs.
void StepRunner::collective_resample_dead(TrainedSae& sae, const Batch& batch) {
  collective_finish(sae);
  sae.log.resampled += collective_resample(sae, batch, mesh_, stream_);
  sae.variant->prepare({sae.state, batch, *sae.buffers, stream_, sae.config.k});
  collective_sum_dead(sae);
}

// Every rank reads the same numbers, so all of them refuse, or none.
void StepRunner::read_log(TrainedSae& sae, std::uint64_t step) {
  StepBuffers::Record& record = sae.buffers->records[step % 2];
  if (!record.pending || record.step != step) return;
  record.written.synchronize();
  record.pending = false;
  const std::span<const double> scalars = record.scalars.span();
  if (scalars[kFinite] == 0)
    collective_refuse_gradient(sae, step, scalars, config_.clip, mesh_.ranks());
  StepLog log{.loss = scalars[kLoss],
              .squared_error = scalars[kMeanSquaredError],
              .aux_loss = scalars[kPenalty],
              .l0 = scalars[kL0],
              .grad_norm = scalars[kNorm],
              .lr = record.lr,
              .dead = static_cast<std::uint64_t>(scalars[kDead]),
              .included_rows = static_cast<std::uint64_t>(scalars[kRows])};
  if (record.first_pass) sae.state.trained_rows += log.included_rows;
  sae.log.add(log);
}

void StepRunner::collective_finish(TrainedSae& sae) {
  if (!sae.buffers) return;
  mesh_.all().synchronize(stream_);
  if (sae.state.step > 0) read_log(sae, sae.state.step - 1);
}

HeldFeatures StepRunner::held_features(std::size_t d_sae) const {
  return {mesh_.tile_of(d_sae), mesh_.own_of(d_sae, sharded_)};
}

void StepRunner::take_tile(TrainedSae& whole) {
  const bool all = mesh_.own_of(whole.config.d_sae, sharded_).count == whole.config.d_sae;
  if (!all || mesh_.device().kind != DeviceKind::cpu) whole.state = tile_of(whole.state);
}

SaeState StepRunner::tile_of(const SaeState& whole) {
  const std::size_t d_sae = whole.parameters.d_sae();
  const FeatureRange tile = mesh_.tile_of(d_sae), own = mesh_.own_of(d_sae, sharded_);
  SaeState part;
  part.parameters = copy_features(whole.parameters, tile.first, tile.count, stream_);
  part.m = copy_features(whole.m, own.first, own.count, stream_);
  part.v = copy_features(whole.v, own.first, own.count, stream_);
  if (whole.mean) part.mean = copy_features(*whole.mean, tile.first, tile.count, stream_);
  part.step = whole.step;
  part.trained_rows = whole.trained_rows;
  part.scalars = whole.scalars;
  part.age = Tensor<std::uint64_t>(Shape{tile.count}, mesh_.device());
  copy_tensor(whole.age.cview().rows(tile.first, tile.count), part.age.view(), stream_);
  stream_.synchronize();
  return part;
}

SaeState StepRunner::collective_whole(TrainedSae& sae) {
  collective_finish(sae);
  SaeShape shape = sae.state.parameters.shape();
  shape.d_sae = sae.config.d_sae;
  SaeState whole;
  whole.step = sae.state.step;
  whole.trained_rows = sae.state.trained_rows;
  whole.scalars = sae.state.scalars;
  whole.age = Tensor<std::uint64_t>(Shape{shape.d_sae});
  const auto gather = [&](auto part, std::size_t first, bool mine, auto to) {
    using T = std::remove_cvref_t<decltype(*to.data())>;
    std::vector<T> own(mine ? part.size() : 0);
    if (mine)
      copy_tensor(TensorView<const T>(part), TensorView<T>(own.data(), part.shape()), stream_);
    stream_.synchronize();
    const std::uint64_t place[2] = {first, mine ? part.size() : 0};
    const std::vector<std::uint64_t> places =
        mesh_.ranks().all_gather(std::span<const std::uint64_t>(place));
    const std::vector<T> all = mesh_.ranks().all_gather(std::span<const T>(own));
    std::size_t at = 0;
    for (std::size_t i = 0; i < places.size(); i += 2) {
      std::copy_n(all.begin() + static_cast<std::ptrdiff_t>(at), places[i + 1],
                  to.data() + places[i] * width_of(to));
      at += places[i + 1];
    }
  };
  const auto gather_all = [&](const SaeParameters& part, bool dealt, SaeParameters& to) {
    to = make_parameters(shape);
    to.decoder = part.decoder;
    const auto from = named_tensors(part), into = named_tensors(to);
    for (std::size_t i = 0; i < into.size(); ++i) {
      const bool features = has_feature_axis(into[i].first);
      gather(from[i].second, features ? part.first_feature : 0,
             features ? dealt || mesh_.row() == 0 : mesh_.ranks().rank() == 0, into[i].second);
    }
  };
  gather_all(sae.state.parameters, false, whole.parameters);
  gather_all(sae.state.m, sharded_, whole.m);
  gather_all(sae.state.v, sharded_, whole.v);
  if (sae.state.mean) gather_all(*sae.state.mean, false, whole.mean.emplace());
  gather(sae.state.age.view(), sae.state.parameters.first_feature, mesh_.row() == 0,
         whole.age.view());
  return whole;
}

}  // namespace refract
