#include "refract/stages/calibrate.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "refract/base/error.hpp"
#include "refract/base/parallel.hpp"
#include "refract/base/progress.hpp"
#include "refract/base/random.hpp"
#include "refract/base/stop.hpp"
#include "refract/metrics/isotropy.hpp"
#include "refract/metrics/moments.hpp"
#include "refract/order/window_order.hpp"
#include "refract/tensor/dot.hpp"

namespace refract {
namespace {

constexpr std::size_t kContextsPerPart = 16;

// Work that any rank may drop: the others learn of it after theirs, and StopRequested leaves on all
// of them or on none.
template <typename Work>
void collective_droppable(Communicator& ranks, Work&& work) {
  bool dropped = false;
  try {
    const Droppable droppable;
    stop_point();
    work();
  } catch (const StopRequested&) {
    dropped = true;
  }
  if (ranks.all_reduce_max(dropped || stop_requested() ? 1 : 0) != 0) throw_stopped();
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// A rank's included rows of one hook, part after part; and who else has how many.
struct IncludedRows {
  Tensor<float> x;                           // its first rows count: [n, D]
  std::vector<std::uint64_t> part_rows;      // of this rank's parts; their sum is n
  std::vector<std::uint64_t> parts_of_rank;  // [R]
  std::vector<std::uint64_t> all_part_rows;  // of every rank's parts
  std::uint64_t all_rows = 0;                // of every rank

  [[nodiscard]] std::size_t d() const { return x.axis(1); }
  [[nodiscard]] std::size_t n() const {
    return std::accumulate(part_rows.begin(), part_rows.end(), std::size_t{0});
  }
  // use(part, first of its rows, how many): this rank's parts
  template <typename Use>
  void for_each_part(Use&& use) const {
    std::size_t first = 0;
    for (std::size_t p = 0; p < part_rows.size(); ++p) {
      use(p, first, part_rows[p]);
      first += part_rows[p];
    }
  }
};

// Moves the rows that are neither special nor a sink to the front.
IncludedRows collective_include(Tensor<float> x, std::span<const std::uint8_t> special,
                                std::span<const std::size_t> part_rows,
                                std::span<const double> norms, double sink_threshold,
                                Communicator& ranks) {
  IncludedRows out{.x = std::move(x), .part_rows = {}, .parts_of_rank = {}, .all_part_rows = {}};
  std::size_t row = 0, kept = 0;
  for (const std::size_t rows : part_rows) {
    const std::size_t kept_before = kept;
    for (const std::size_t end = row + rows; row < end; ++row) {
      if (special[row] != 0 || is_sink(norms[row], sink_threshold)) continue;
      if (kept != row) std::ranges::copy(out.x.row(row), out.x.row(kept).begin());
      ++kept;
    }
    out.part_rows.push_back(kept - kept_before);
  }
  const std::uint64_t parts = out.part_rows.size();
  out.parts_of_rank = ranks.all_gather(std::span<const std::uint64_t>(&parts, 1));
  out.all_part_rows = ranks.all_gather(std::span<const std::uint64_t>(out.part_rows));
  out.all_rows =
      std::accumulate(out.all_part_rows.begin(), out.all_part_rows.end(), std::uint64_t{0});
  return out;
}

// `mine` holds `width` numbers of each part of this rank: their sum over the parts of all ranks, in
// the order of the parts. What is gathered at a time is bounded: some columns of all parts.
std::vector<double> collective_add_parts(const std::vector<double>& mine, std::size_t width,
                                         std::size_t all_parts, Communicator& ranks) {
  constexpr std::size_t kGathered = std::size_t{8} << 20;  // numbers: 64 MiB
  const std::size_t at_a_time = std::max<std::size_t>(1, kGathered / all_parts);
  std::vector<double> sum(width, 0.0), some;
  for (std::size_t first = 0; first < width; first += at_a_time) {
    const std::size_t columns = std::min(at_a_time, width - first);
    some.clear();
    for (auto part = mine.begin(); part != mine.end(); part += static_cast<std::ptrdiff_t>(width)) {
      const auto from = part + static_cast<std::ptrdiff_t>(first);
      some.insert(some.end(), from, from + static_cast<std::ptrdiff_t>(columns));
    }
    const std::vector<double> all = ranks.all_gather(std::span<const double>(some));
    for (std::size_t i = 0; i < all.size(); ++i) sum[first + i % columns] += all[i];
  }
  return sum;
}

std::vector<float> collective_mean(const IncludedRows& rows, Communicator& ranks) {
  std::vector<double> partial(rows.part_rows.size() * rows.d(), 0.0);
  collective_droppable(ranks, [&] {
    const std::vector<double> ones(rows.n(), 1.0);
    rows.for_each_part([&](std::size_t p, std::size_t first, std::size_t count) {
      add_weighted_rows(rows.x.cview().rows(first, count), std::span(ones).subspan(first, count),
                        std::span(partial).subspan(p * rows.d(), rows.d()));
    });
  });
  std::vector<float> mean;
  for (const double value :
       collective_add_parts(partial, rows.d(), rows.all_part_rows.size(), ranks))
    mean.push_back(static_cast<float>(value / static_cast<double>(rows.all_rows)));
  return mean;
}

// Weiszfeld's iteration from the mean; stops when the point moves less than 1e-6 of its spread.
std::vector<float> collective_geometric_median(const IncludedRows& rows,
                                               const std::vector<float>& mean,
                                               Communicator& ranks) {
  const std::size_t d = rows.d(), width = d + 2;  // weighted rows, weights, distances
  std::vector<float> point = mean;
  std::vector<double> weights(rows.n()), partial;
  for (int iteration = 0; iteration < 30; ++iteration) {
    collective_droppable(ranks, [&] {
      parallel_for(weights.size(), [&](std::size_t i) {
        const double distance = std::sqrt(squared_distance(rows.x.row(i).data(), point.data(), d));
        weights[i] = 1.0 / std::max(distance, 1e-12);
      });
      partial.assign(rows.part_rows.size() * width, 0.0);
      rows.for_each_part([&](std::size_t p, std::size_t first, std::size_t count) {
        const std::span<const double> of_part = std::span(weights).subspan(first, count);
        const std::span<double> sums = std::span(partial).subspan(p * width, width);
        add_weighted_rows(rows.x.cview().rows(first, count), of_part, sums.first(d));
        for (const double weight : of_part) {
          sums[d] += weight;
          sums[d + 1] += 1.0 / weight;
        }
      });
    });
    const std::vector<double> sums =
        collective_add_parts(partial, width, rows.all_part_rows.size(), ranks);
    double moved = 0;
    for (std::size_t j = 0; j < d; ++j) {
      const double next = sums[j] / sums[d];
      moved += (next - point[j]) * (next - point[j]);
      point[j] = static_cast<float>(next);
    }
    const double mean_distance = sums[d + 1] / static_cast<double>(rows.all_rows);
    if (std::sqrt(moved) < 1e-6 * mean_distance) break;
  }
  return point;
}

// On rank 0; empty elsewhere. A rank owns some tiles of the result; the parts go by, one at a time.
//
//   r0 has parts p0 p1, tiles t0 t1    p0 to all: t0 t1 += p0 | t2 += p0,  then p1, then p2
//   r1 has part  p2,    tile  t2       at the end r0 gathers t0 t1 t2
std::vector<double> collective_covariance(const std::string& hook, IncludedRows& rows,
                                          const std::vector<float>& mean, Communicator& ranks) {
  const std::size_t d = rows.d();
  const Share share = share_of(ScatterTiles::tiles_of(d), ranks.rank(), ranks.size());
  ScatterTiles tiles(d, share.first, share.count);
  std::size_t largest = 0;  // of the others' parts
  std::size_t index = 0;
  for (int owner = 0; owner < ranks.size(); ++owner)
    for (std::uint64_t p = 0; p < rows.parts_of_rank[static_cast<std::size_t>(owner)]; ++p, ++index)
      if (owner != ranks.rank()) largest = std::max(largest, rows.all_part_rows[index]);
  Tensor<float> others(Shape{largest, d});
  Progress progress("measure " + hook, rows.all_rows, "rows", ranks.rank() != 0);
  index = 0;
  std::size_t first = 0;  // of this rank's rows
  for (int owner = 0; owner < ranks.size(); ++owner)
    for (std::uint64_t p = 0; p < rows.parts_of_rank[static_cast<std::size_t>(owner)]; ++p) {
      const std::size_t count = rows.all_part_rows[index++];
      const bool own = owner == ranks.rank();
      const TensorView<float> part =
          own ? rows.x.view().rows(first, count) : others.view().rows(0, count);
      if (own) first += count;
      ranks.broadcast(part.span(), owner);
      collective_droppable(ranks, [&] { tiles.add(part, mean); });
      progress.advance(count);
    }
  const std::vector<double> all = ranks.gather(std::span<const double>(tiles.values()), 0);
  if (ranks.rank() != 0) return {};
  return covariance_of(all, d, static_cast<double>(rows.all_rows));
}

// On rank 0; empty elsewhere.
std::vector<float> collective_int8_scales(const IncludedRows& rows, Communicator& ranks) {
  std::vector<float> scales(rows.d(), 0.0F);
  for (std::size_t r = 0; r < rows.n(); ++r)
    for (std::size_t j = 0; j < rows.d(); ++j)
      scales[j] = std::max(scales[j], std::abs(rows.x.row(r)[j]) / 127.0F);
  const std::vector<float> all = ranks.gather(std::span<const float>(scales), 0);
  if (ranks.rank() != 0) return {};
  for (std::size_t i = 0; i < all.size(); ++i)
    scales[i % scales.size()] = std::max(scales[i % scales.size()], all[i]);
  return scales;
}

// On rank 0; null elsewhere, and of a single row. Frozen with the rest: LAPACK's last bits are
// those of the machine, and an SAE is trained and exported by the same.
std::shared_ptr<const WhiteningMaps> collective_whitening(const HookCalibration& hook,
                                                          Communicator& ranks) {
  std::shared_ptr<const WhiteningMaps> out;
  collective_droppable(ranks, [&] {
    if (ranks.rank() != 0 || hook.rows < 2) return;
    ZcaWhitening zca = zca_whitening_of(hook.covariance, hook.d_in, kCalibratedWhiteningFloor);
    out = std::make_shared<const WhiteningMaps>(
        WhiteningMaps{std::move(zca.W), std::move(zca.inverse)});
  });
  return out;
}

// Whether rows of this covariance, on rank 0, vary by less than a millionth of their size.
bool collective_is_constant(const HookCalibration& hook, Communicator& ranks) {
  double variance = 0, size = 0;
  for (std::size_t j = 0; j < hook.d_in && !hook.covariance.empty(); ++j) {
    variance += hook.covariance[j * hook.d_in + j];
    size += static_cast<double>(hook.mean[j]) * static_cast<double>(hook.mean[j]);
  }
  const bool constant = ranks.rank() == 0 && hook.rows > 1 && variance <= 1e-12 * size;
  return ranks.all_reduce_max(constant ? 1 : 0) != 0;
}

}  // namespace

CalibrationPlan plan_calibration(const CalibrationConfig& config, TokenCorpus& corpus,
                                 std::uint32_t window_shards, const RowRule& rule,
                                 std::uint64_t store_seed) {
  WindowContexts contexts;
  const std::size_t shards = std::min<std::size_t>(window_shards, corpus.shards());
  for (std::uint32_t s = 0; s < shards; ++s)
    contexts.add_shard(corpus.contexts(s).training_contexts());
  if (contexts.size() == 0)
    throw DataError(
        "the first window of the corpus ({} shards) has no training context to calibrate on. Raise "
        "tokens.window_shards, or lower heldout.share.",
        shards);
  CalibrationPlan plan;
  for (const std::uint32_t i : permutation(static_cast<std::uint32_t>(contexts.size()),
                                           CounterRng(Purpose::calibration, {store_seed}))) {
    const auto [shard, context] = contexts.place(i);
    const std::uint64_t key = context_key(shard, context);
    const std::uint64_t length = corpus.contexts(static_cast<std::uint32_t>(shard)).format().length;
    const std::vector<std::uint32_t> slots = corpus.slots(key, rule, store_seed);
    if (plan.rows + slots.size() > config.rows || plan.tokens + length > config.max_tokens) break;
    if (plan.parts.empty() || plan.parts.back().contexts.size() == kContextsPerPart)
      plan.parts.emplace_back();
    BlockPlan& part = plan.parts.back();
    for (const std::uint32_t slot : slots)
      part.rows.push_back({static_cast<std::uint32_t>(part.contexts.size()), slot});
    part.contexts.push_back(key);
    plan.rows += slots.size();
    plan.tokens += length;
  }
  if (plan.rows == 0)
    throw ConfigError(
        "calibration.rows ({}) and calibration.max_tokens ({}) allow not one context: raise them",
        config.rows, config.max_tokens);
  return plan;
}

CalibrationShare collective_sample(const CalibrationPlan& plan, const LanguageModel& model,
                                   const std::vector<HookPoint>& hooks, TokenCorpus& corpus,
                                   Communicator& ranks) {
  const Share share = share_of(plan.parts.size(), ranks.rank(), ranks.size());
  const std::uint64_t rounds = share_of(plan.parts.size(), 0, ranks.size()).count;
  CalibrationShare out;
  std::size_t n = 0;
  for (std::uint64_t p = share.first; p < share.first + share.count; ++p) {
    out.part_rows.push_back(plan.parts[p].rows.size());
    n += plan.parts[p].rows.size();
  }
  for (std::size_t h = 0; h < hooks.size(); ++h) out.x.emplace_back(Shape{n, model.info().d_model});
  BlockComputer computer(model, hooks, corpus);
  Stream stream;
  Progress progress("calibrate", plan.rows, "rows", ranks.rank() != 0);
  for (std::uint64_t round = 0; round < rounds; ++round)
    collective_droppable(ranks, [&] {
      if (round >= share.count) return;
      const BlockRows rows = computer.compute(plan.parts[share.first + round], stream);
      for (std::size_t h = 0; h < hooks.size(); ++h)
        std::ranges::copy(rows.activations[h].span(), out.x[h].row(out.special.size()).begin());
      out.special.insert(out.special.end(), rows.identity.excluded.begin(),
                         rows.identity.excluded.end());
      progress.advance(rows.identity.size() * static_cast<std::uint64_t>(ranks.size()));
    });
  return out;
}

HookCalibration collective_measure(const std::string& hook, Tensor<float> x,
                                   std::span<const std::uint8_t> special,
                                   std::span<const std::size_t> part_rows, double sink_ratio,
                                   Communicator& ranks) {
  HookCalibration out;
  out.hook = hook;
  out.d_in = x.axis(1);
  std::vector<double> norms(special.size()), ordinary;
  collective_droppable(ranks, [&] {
    parallel_for(norms.size(), [&](std::size_t i) { norms[i] = norm_of(x.row(i)); });
  });
  for (std::size_t i = 0; i < norms.size(); ++i)
    if (special[i] == 0) ordinary.push_back(norms[i]);
  ordinary = ranks.all_gather(std::span<const double>(ordinary));
  if (ordinary.empty())
    throw DataError(
        "calibration found no ordinary row (only BOS, padding or special tokens): check rows.take");
  out.median_norm = median(ordinary);
  out.sink_threshold = sink_ratio * out.median_norm;
  IncludedRows rows =
      collective_include(std::move(x), special, part_rows, norms, out.sink_threshold, ranks);
  out.rows = rows.all_rows;
  double norm_sum = 0;
  for (const double norm : ordinary)
    if (!is_sink(norm, out.sink_threshold)) norm_sum += norm;
  out.mean_norm = norm_sum / static_cast<double>(out.rows);
  if (out.mean_norm == 0)
    throw NumericalError(
        "{} is zero in every one of {} calibration rows: an SAE would find nothing there. Take "
        "another hook point, or look at the weights that write to this one.",
        hook, out.rows);
  out.mean = collective_mean(rows, ranks);
  out.geometric_median = collective_geometric_median(rows, out.mean, ranks);
  out.covariance = collective_covariance(hook, rows, out.mean, ranks);
  if (collective_is_constant(out, ranks))
    throw NumericalError(
        "{} varies by less than a millionth of its size over {} calibration rows: an SAE would "
        "find nothing there. Take another hook point, or raise calibration.rows if they are few.",
        hook, out.rows);
  out.int8_scales = collective_int8_scales(rows, ranks);
  out.whitening = collective_whitening(out, ranks);
  return out;
}

CalibrationData collective_calibrate(const CalibrationPlan& plan, const LanguageModel& model,
                                     const std::vector<HookPoint>& hooks, TokenCorpus& corpus,
                                     double sink_ratio, Communicator& ranks) {
  CalibrationShare share = collective_sample(plan, model, hooks, corpus, ranks);
  CalibrationData data;
  for (std::size_t h = 0; h < hooks.size(); ++h) {
    HookCalibration hook = collective_measure(name(hooks[h]), std::move(share.x[h]), share.special,
                                              share.part_rows, sink_ratio, ranks);
    hook.tokens = plan.tokens;
    if (ranks.rank() == 0) data.hooks.push_back(std::move(hook));
  }
  return data;
}

}  // namespace refract
