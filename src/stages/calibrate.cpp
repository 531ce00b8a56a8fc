#include "refract/stages/calibrate.hpp"

#include <algorithm>
#include <cmath>

#include "refract/base/error.hpp"
#include "refract/base/finite.hpp"
#include "refract/base/parallel.hpp"
#include "refract/base/progress.hpp"
#include "refract/base/random.hpp"
#include "refract/base/stop.hpp"

namespace refract {
namespace {

double norm_of(std::span<const float> row) {
  double sum = 0;
  for (const float value : row) sum += static_cast<double>(value) * value;
  return std::sqrt(sum);
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// sum over rows of weight(r) * x[r], in panels of fixed size added in index order: the same for any
// thread count.
std::vector<double> weighted_sum(TensorView<const float> x, const std::vector<std::uint32_t>& rows,
                                 const std::vector<double>& weights) {
  constexpr std::size_t kPanel = 1024;
  const std::size_t d = x.axis(1), panels = (rows.size() + kPanel - 1) / kPanel;
  std::vector<double> partial(panels * d, 0.0), sum(d, 0.0);
  parallel_for(panels, [&](std::size_t p) {
    double* out = partial.data() + p * d;
    for (std::size_t i = p * kPanel; i < std::min(rows.size(), (p + 1) * kPanel); ++i) {
      const float* row = x.row(rows[i]).data();
      for (std::size_t j = 0; j < d; ++j) out[j] += weights[i] * row[j];
    }
  });
  for (std::size_t p = 0; p < panels; ++p)
    for (std::size_t j = 0; j < d; ++j) sum[j] += partial[p * d + j];
  return sum;
}

// Weiszfeld's iteration from the mean; stops when the point moves less than 1e-6 of its spread.
std::vector<float> geometric_median(TensorView<const float> x,
                                    const std::vector<std::uint32_t>& rows,
                                    const std::vector<float>& mean) {
  const std::size_t d = x.axis(1);
  std::vector<float> point = mean;
  std::vector<double> weights(rows.size());
  for (int iteration = 0; iteration < 30; ++iteration) {
    parallel_for(rows.size(), [&](std::size_t i) {
      const std::span<const float> row = x.row(rows[i]);
      double square = 0;
      for (std::size_t j = 0; j < d; ++j)
        square += (static_cast<double>(row[j]) - point[j]) * (row[j] - point[j]);
      weights[i] = 1.0 / std::max(std::sqrt(square), 1e-12);
    });
    double total = 0, moved = 0, mean_distance = 0;
    for (const double weight : weights) {
      total += weight;
      mean_distance += 1.0 / weight;
    }
    mean_distance /= static_cast<double>(rows.size());
    const std::vector<double> sum = weighted_sum(x, rows, weights);
    for (std::size_t j = 0; j < d; ++j) {
      const double next = sum[j] / total;
      moved += (next - point[j]) * (next - point[j]);
      point[j] = static_cast<float>(next);
    }
    if (std::sqrt(moved) < 1e-6 * mean_distance) break;
  }
  return point;
}

std::vector<double> covariance(TensorView<const float> x, const std::vector<std::uint32_t>& rows,
                               const std::vector<float>& mean) {
  constexpr std::size_t kTile = 16;
  const std::size_t d = x.axis(1);
  std::vector<double> out(d * d, 0.0);
  parallel_for((d + kTile - 1) / kTile, [&](std::size_t tile) {
    const std::size_t first = tile * kTile, last = std::min(d, first + kTile);
    std::vector<double> centred(d);
    for (const std::uint32_t r : rows) {
      const std::span<const float> row = x.row(r);
      for (std::size_t j = first; j < d; ++j) centred[j] = static_cast<double>(row[j]) - mean[j];
      for (std::size_t i = first; i < last; ++i) {
        const double value = centred[i];
        double* to = out.data() + i * d;
        for (std::size_t j = i; j < d; ++j) to[j] += value * centred[j];
      }
    }
  });
  for (std::size_t i = 0; i < d; ++i)
    for (std::size_t j = i; j < d; ++j) {
      out[i * d + j] /= static_cast<double>(rows.size());
      out[j * d + i] = out[i * d + j];
    }
  return out;
}

}  // namespace

HookCalibration measure_hook(const std::string& hook, TensorView<const float> x,
                             std::span<const std::uint8_t> special, double sink_ratio) {
  const std::size_t n = x.axis(0), d = x.axis(1);
  if (const std::size_t at = first_not_finite(x.span()); at != x.size())
    throw NumericalError("{} is {} in column {} of calibration row {}", hook, x.data()[at], at % d,
                         at / d);
  std::vector<double> norms(n), kept_norms;
  parallel_for(n, [&](std::size_t i) { norms[i] = norm_of(x.row(i)); });
  for (std::size_t i = 0; i < n; ++i)
    if (!special[i]) kept_norms.push_back(norms[i]);
  if (kept_norms.empty())
    throw DataError(
        "calibration found no ordinary row (only BOS, padding or special tokens): check rows.take");
  HookCalibration out;
  out.hook = hook;
  out.d_in = d;
  out.median_norm = median(kept_norms);
  out.sink_threshold = sink_ratio * out.median_norm;
  std::vector<std::uint32_t> rows;
  for (std::size_t i = 0; i < n; ++i)
    if (!special[i] && norms[i] <= out.sink_threshold)
      rows.push_back(static_cast<std::uint32_t>(i));
  out.rows = rows.size();
  double norm_sum = 0;
  for (const std::uint32_t r : rows) norm_sum += norms[r];
  out.mean_norm = norm_sum / static_cast<double>(rows.size());
  if (out.mean_norm == 0)
    throw NumericalError(
        "{} is zero in every one of {} calibration rows: an SAE would find nothing there. Take "
        "another hook point, or look at the weights that write to this one.",
        hook, rows.size());
  const std::vector<double> sum = weighted_sum(x, rows, std::vector<double>(rows.size(), 1.0));
  for (const double value : sum)
    out.mean.push_back(static_cast<float>(value / static_cast<double>(rows.size())));
  out.geometric_median = geometric_median(x, rows, out.mean);
  out.covariance = covariance(x, rows, out.mean);
  double variance = 0, size = 0;
  for (std::size_t j = 0; j < d; ++j) {
    variance += out.covariance[j * d + j];
    size += static_cast<double>(out.mean[j]) * static_cast<double>(out.mean[j]);
  }
  if (rows.size() > 1 && variance <= 1e-12 * size)
    throw NumericalError(
        "{} varies by less than a millionth of its size over {} calibration rows: an SAE would "
        "find nothing there. Take another hook point, or raise calibration.rows if they are few.",
        hook, rows.size());
  out.int8_scales.assign(d, 0.0F);
  for (const std::uint32_t r : rows)
    for (std::size_t j = 0; j < d; ++j)
      out.int8_scales[j] = std::max(out.int8_scales[j], std::abs(x.row(r)[j]) / 127.0F);
  return out;
}

namespace {

constexpr std::size_t kContextsPerPart = 16;  // computed by one rank at a time

struct CalibrationPlan {
  std::vector<BlockPlan> parts;
  std::uint64_t rows = 0, tokens = 0;
};

// Contexts of the first window's training documents, in a drawn order, until the next would exceed
// the rows or tokens allowed.
CalibrationPlan plan_calibration(const CalibrationConfig& config, TokenCorpus& corpus,
                                 std::uint32_t window_shards, const RowRule& rule,
                                 std::uint64_t store_seed) {
  std::vector<std::uint64_t> ends;  // running end of each shard's contexts in the window
  for (std::uint32_t s = 0; s < std::min<std::size_t>(window_shards, corpus.shards()); ++s)
    ends.push_back((s == 0 ? 0 : ends.back()) + corpus.contexts(s).training_contexts());
  CalibrationPlan plan;
  for (const std::uint32_t i : permutation(static_cast<std::uint32_t>(ends.back()),
                                           CounterRng(Purpose::calibration, {store_seed}))) {
    const auto shard = static_cast<std::size_t>(std::ranges::upper_bound(ends, i) - ends.begin());
    const std::uint64_t key = context_key(shard, i - (shard == 0 ? 0 : ends[shard - 1]));
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

}  // namespace

CalibrationData collective_calibrate(const CalibrationConfig& config, const LanguageModel& model,
                                     const std::vector<HookPoint>& hooks, TokenCorpus& corpus,
                                     std::uint32_t window_shards, const RowRule& rule,
                                     double sink_ratio, std::uint64_t store_seed,
                                     Communicator& ranks) {
  const CalibrationPlan plan = plan_calibration(config, corpus, window_shards, rule, store_seed);
  const bool root = ranks.rank() == 0;
  const std::size_t d = model.info().d_model;
  BlockComputer computer(model, hooks, corpus);
  Stream stream;
  std::vector<std::vector<float>> x(hooks.size());  // root: rows of all parts, in their order
  std::vector<std::uint8_t> special;
  Progress progress("calibrate", plan.rows, "rows", !root);
  // A round: each rank computes one part, the root takes them in rank order, which is their order.
  const auto size = static_cast<std::size_t>(ranks.size()),
             rank = static_cast<std::size_t>(ranks.rank());
  for (std::size_t first = 0; first < plan.parts.size(); first += size) {
    BlockRows mine;
    collective_droppable(ranks, [&] {
      if (first + rank < plan.parts.size())
        mine = computer.compute(plan.parts[first + rank], stream);
    });
    mine.activations.resize(hooks.size());
    for (std::size_t h = 0; h < hooks.size(); ++h) {
      const std::vector<float> round =
          ranks.all_gather(std::span<const float>(mine.activations[h].span()));
      if (root) x[h].insert(x[h].end(), round.begin(), round.end());
    }
    const std::vector<std::uint8_t> excluded =
        ranks.all_gather(std::span<const std::uint8_t>(mine.identity.excluded));
    special.insert(special.end(), excluded.begin(), excluded.end());
    progress.advance(excluded.size());
  }
  progress.finish();
  CalibrationData data;
  for (std::size_t h = 0; h < hooks.size(); ++h)
    collective_droppable(ranks, [&] {
      if (!root) return;
      HookCalibration hook =
          measure_hook(name(hooks[h]), TensorView<const float>(x[h].data(), Shape{plan.rows, d}),
                       special, sink_ratio);
      hook.tokens = plan.tokens;
      data.hooks.push_back(std::move(hook));
    });
  return data;
}

}  // namespace refract
