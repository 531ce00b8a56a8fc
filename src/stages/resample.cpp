#include "refract/stages/resample.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "refract/base/error.hpp"
#include "refract/base/random.hpp"
#include "refract/ops/entry_penalty.hpp"
#include "refract/ops/row_kernels.hpp"

namespace refract {
namespace {

template <typename T>
std::vector<T> on_host(TensorView<const T> there, Stream& stream) {
  std::vector<T> here(there.size());
  if (here.empty()) return here;
  copy_tensor(there, TensorView<T>(here.data(), there.shape()), stream);
  stream.synchronize();
  return here;
}

// Of this rank's rows; infinite where a row cannot be drawn.
std::vector<double> own_keys(const TrainedSae& sae, const Batch& batch, Stream& stream) {
  const TensorView<const float> e = sae.buffers->error[kMainError].cview();
  const std::vector<float> errors = on_host(e, stream);
  const std::vector<std::uint8_t> included = on_host(batch.included, stream);
  const CounterRng rng(Purpose::resample, {sae.config.seed, sae.state.step});
  std::vector<double> keys(included.size(), std::numeric_limits<double>::infinity());
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const double squared = squared_norm(errors.data() + i * e.axis(1), e.axis(1));
    if (included[i] != 0 && squared > 0)
      keys[i] = -std::log(1 - rng.uniform(batch.first_row + i)) / std::sqrt(squared);
  }
  return keys;
}

std::vector<std::size_t> drawn_rows(const std::vector<double>& keys, std::size_t most) {
  std::vector<std::size_t> rows;
  for (std::size_t row = 0; row < keys.size(); ++row)
    if (std::isfinite(keys[row])) rows.push_back(row);
  const std::size_t count = std::min(most, rows.size());
  std::partial_sort(
      rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(count), rows.end(),
      [&](std::size_t a, std::size_t b) { return keys[a] != keys[b] ? keys[a] < keys[b] : a < b; });
  rows.resize(count);
  return rows;
}

// Rows of the global batch, in the order asked for: each rank brings those that it has.
Tensor<float> collective_rows(TensorView<const float> own, const Batch& batch,
                              const std::vector<std::size_t>& rows, Mesh& mesh, Stream& stream) {
  std::vector<std::size_t> ascending = rows;
  std::ranges::sort(ascending);
  const std::size_t width = own.axis(1);
  std::vector<float> brought;
  for (const std::size_t row : ascending)
    if (row >= batch.first_row && row < batch.first_row + own.axis(0)) {
      const std::vector<float> one = on_host(own.rows(row - batch.first_row, 1), stream);
      brought.insert(brought.end(), one.begin(), one.end());
    }
  const std::vector<float> all = mesh.ranks().all_gather(std::span<const float>(brought));
  REFRACT_ASSERT(all.size() == rows.size() * width, "{} values of {} rows", all.size(),
                 rows.size());
  Tensor<float> out(Shape{rows.size(), width});
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto at =
        static_cast<std::size_t>(std::ranges::lower_bound(ascending, rows[i]) - ascending.begin());
    std::copy_n(all.data() + at * width, width, out.row(i).data());
  }
  return out;
}

// Mean norm of the encoder rows of features that are not listed (ascending).
double living_norm(const SaeParameters& p, const std::vector<std::uint32_t>& dead, Stream& stream) {
  const Tensor<float> norms(Shape{p.d_sae()}, stream.device());
  row_norms(p.W_enc.cview(), norms.view(), stream);
  const std::vector<float> all = on_host(norms.cview(), stream);
  double sum = 0;
  for (std::size_t f = 0, next = 0; f < all.size(); ++f)
    if (next < dead.size() && dead[next] == f)
      ++next;
    else
      sum += static_cast<double>(all[f]);
  const std::size_t living = all.size() - dead.size();
  return living == 0 ? 1 : sum / static_cast<double>(living);
}

void to_allowed_direction(const DecoderRule& rule, std::span<float> row) {
  if (rule.non_negative)
    for (float& value : row) value = std::max(value, 0.0F);
  double squared = squared_norm(row.data(), row.size());
  if (squared == 0) squared = row[0] = 1;
  scale(row.data(), static_cast<float>(1 / std::sqrt(squared)), row.size(), row.data());
}

// Rows of every tensor that has a feature axis, to the features that `to` holds.
void put(const SaeParameters& from, const std::vector<std::uint32_t>& features, bool thresholds,
         const SaeParameters& to, Stream& stream) {
  const auto sources = named_tensors(from), targets = named_tensors(to);
  for (std::size_t t = 0; t < targets.size(); ++t) {
    const std::string& tensor = targets[t].first;
    if (!has_feature_axis(tensor) || (tensor == "threshold" && !thresholds)) continue;
    for (std::size_t i = 0; i < features.size(); ++i)
      if (features[i] >= to.first_feature && features[i] < to.first_feature + to.d_sae())
        copy_tensor(TensorView<const float>(sources[t].second.rows(i, 1)),
                    targets[t].second.rows(features[i] - to.first_feature, 1), stream);
  }
}

}  // namespace

bool resamples_after(const SaeConfig& config, std::uint64_t updates, std::uint64_t steps) {
  const ResampleConfig& when = config.resample;
  return when.every_steps != 0 && updates % when.every_steps == 0 &&
         static_cast<double>(updates) <= when.until * static_cast<double>(steps);
}

std::uint64_t collective_resample(TrainedSae& sae, const Batch& batch, Mesh& mesh, Stream& stream) {
  REFRACT_ASSERT(mesh.shape().features == 1, "{} columns", mesh.shape().features);
  SaeState& state = sae.state;
  const SaeParameters& p = state.parameters;
  const DeadFeatures listed = sae.buffers->dead_features();
  const std::uint64_t count =
      on_host(TensorView<const std::uint64_t>(listed.count), stream).front();
  if (count == 0) return 0;
  std::vector<std::uint32_t> dead =
      on_host(TensorView<const std::uint32_t>(listed.features.rows(0, count)), stream);
  const double norm = living_norm(p, dead, stream);

  const std::vector<double> mine = own_keys(sae, batch, stream);
  const std::vector<std::size_t> rows =
      drawn_rows(mesh.ranks().all_gather(std::span<const double>(mine)), dead.size());
  dead.resize(rows.size());
  SaeShape shape = p.shape();
  shape.d_sae = rows.size();
  const SaeParameters zeros = make_parameters(shape);
  SaeParameters fresh = make_parameters(shape);
  sae.variant->initialise(fresh);
  fresh.W_enc = collective_rows(batch.x, batch, rows, mesh, stream);
  fresh.W_dec = collective_rows(batch.target, batch, rows, mesh, stream);
  const auto factor = static_cast<float>(norm * sae.config.resample.scale);
  for (float& value : fresh.W_enc.span()) value *= factor;
  for (std::size_t i = 0; i < rows.size(); ++i) to_allowed_direction(p.decoder, fresh.W_dec.row(i));

  const bool thresholds = trains_threshold(sae.config);
  put(fresh, dead, thresholds, p, stream);
  if (state.mean) put(fresh, dead, thresholds, *state.mean, stream);
  for (const SaeParameters* moments : {&state.m, &state.v})
    put(zeros, dead, thresholds, *moments, stream);
  const Tensor<std::uint64_t> newborn(Shape{1});
  for (const std::uint32_t f : dead)
    copy_tensor(newborn.cview(), state.age.view().rows(f, 1), stream);
  stream.synchronize();
  return rows.size();
}

}  // namespace refract
