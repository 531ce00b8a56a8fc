#include "refract/stages/calibrate.hpp"

#include <algorithm>
#include <cmath>

#include "refract/base/error.hpp"
#include "refract/base/parallel.hpp"
#include "refract/base/progress.hpp"
#include "refract/base/random.hpp"

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

// sum over rows of weight(r) * x[r], in panels of fixed size added in index order: the same for any thread count.
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
std::vector<float> geometric_median(TensorView<const float> x, const std::vector<std::uint32_t>& rows,
                                    const std::vector<float>& mean) {
  const std::size_t d = x.axis(1);
  std::vector<float> point = mean;
  std::vector<double> weights(rows.size());
  for (int iteration = 0; iteration < 30; ++iteration) {
    parallel_for(rows.size(), [&](std::size_t i) {
      const std::span<const float> row = x.row(rows[i]);
      double square = 0;
      for (std::size_t j = 0; j < d; ++j) square += (static_cast<double>(row[j]) - point[j]) * (row[j] - point[j]);
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

HookCalibration measure_hook(TensorView<const float> x, std::span<const std::uint8_t> special, double sink_ratio,
                             const std::string& input_scale) {
  const std::size_t n = x.axis(0), d = x.axis(1);
  std::vector<double> norms(n), kept_norms;
  parallel_for(n, [&](std::size_t i) { norms[i] = norm_of(x.row(i)); });
  for (std::size_t i = 0; i < n; ++i)
    if (!special[i]) kept_norms.push_back(norms[i]);
  if (kept_norms.empty())
    throw DataError("calibration found no ordinary row (only BOS, padding or special tokens): check rows.take");
  HookCalibration out;
  out.d_in = d;
  out.median_norm = median(kept_norms);
  out.sink_threshold = sink_ratio * out.median_norm;
  std::vector<std::uint32_t> rows;
  for (std::size_t i = 0; i < n; ++i) {
    if (!std::isfinite(norms[i])) throw NumericalError("the model gave a value that is not finite, in row {} of the calibration", i);
    if (!special[i] && norms[i] <= out.sink_threshold) rows.push_back(static_cast<std::uint32_t>(i));
  }
  out.rows = rows.size();
  double norm_sum = 0;
  for (const std::uint32_t r : rows) norm_sum += norms[r];
  out.mean_norm = norm_sum / static_cast<double>(rows.size());
  out.input_scale = input_scale == "none" ? 1.0 : std::sqrt(static_cast<double>(d)) / out.mean_norm;
  const std::vector<double> sum = weighted_sum(x, rows, std::vector<double>(rows.size(), 1.0));
  for (const double value : sum) out.mean.push_back(static_cast<float>(value / static_cast<double>(rows.size())));
  out.geometric_median = geometric_median(x, rows, out.mean);
  out.covariance = covariance(x, rows, out.mean);
  out.int8_scales.assign(d, 0.0F);
  for (const std::uint32_t r : rows)
    for (std::size_t j = 0; j < d; ++j) out.int8_scales[j] = std::max(out.int8_scales[j], std::abs(x.row(r)[j]) / 127.0F);
  return out;
}

CalibrationData calibrate(const CalibrationConfig& config, const LanguageModel& model,
                          const std::vector<HookPoint>& hooks, TokenCorpus& corpus,
                          std::span<const ContextRef> first_window, const RowRule& rule, double sink_ratio,
                          const std::string& input_scale, std::uint64_t store_seed) {
  // Contexts in a drawn order until the next would exceed the rows or tokens allowed.
  BlockPlan all;
  std::uint64_t tokens = 0;
  for (const std::uint32_t i : permutation(static_cast<std::uint32_t>(first_window.size()),
                                           CounterRng(Purpose::calibration, {store_seed}))) {
    const ContextRef& context = first_window[i];
    const std::uint64_t length = corpus.contexts(context.shard).context_length;
    if (all.rows.size() + context.rows > config.rows || tokens + length > config.max_tokens) break;
    const std::vector<std::uint32_t> slots =
        select_slots(rule, corpus.contexts(context.shard), context.context, context.key(), store_seed);
    for (const std::uint32_t slot : slots) all.rows.push_back({static_cast<std::uint32_t>(all.contexts.size()), slot});
    all.contexts.push_back(context.key());
    tokens += length;
  }
  if (all.rows.empty())
    throw ConfigError("calibration.rows ({}) and calibration.max_tokens ({}) allow not one context: raise them",
                      config.rows, config.max_tokens);
  BlockComputer computer(model, hooks, corpus);
  Stream stream;
  std::vector<Tensor<float>> x;
  for (std::size_t h = 0; h < hooks.size(); ++h) x.emplace_back(Shape{all.rows.size(), model.info().d_model});
  std::vector<std::uint8_t> special;
  Progress progress("calibrate", all.rows.size(), "rows");
  for (std::size_t first = 0; first < all.contexts.size();) {
    BlockPlan part;
    const std::size_t row_base = special.size();
    std::size_t row = row_base;
    while (first < all.contexts.size() && part.contexts.size() < 16) {
      for (; row < all.rows.size() && all.rows[row].context == first; ++row)
        part.rows.push_back({static_cast<std::uint32_t>(part.contexts.size()), all.rows[row].slot});
      part.contexts.push_back(all.contexts[first++]);
    }
    const BlockRows rows = computer.compute(part, stream);
    for (std::size_t h = 0; h < hooks.size(); ++h)
      std::ranges::copy(rows.activations[h].span(), x[h].data() + row_base * model.info().d_model);
    special.insert(special.end(), rows.identity.excluded.begin(), rows.identity.excluded.end());
    progress.advance(part.rows.size());
  }
  progress.finish();
  CalibrationData data;
  for (std::size_t h = 0; h < hooks.size(); ++h) {
    HookCalibration hook = measure_hook(x[h].cview(), special, sink_ratio, input_scale);
    hook.hook = name(hooks[h]);
    hook.tokens = tokens;
    data.hooks.push_back(std::move(hook));
  }
  return data;
}

}  // namespace refract
