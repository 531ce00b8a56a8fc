#include "refract/ops/entry_penalty.hpp"

#include <algorithm>
#include <cmath>

#include "ops/backend.hpp"
#include "ops/cuda_bodies.hpp"
#include "ops/penalty_of_entry.hpp"
#include "ops/workers.hpp"
#include "refract/base/build_info.hpp"
#include "refract/base/error.hpp"
#include "refract/tensor/dot.hpp"

namespace refract {

void row_norms(TensorView<const float> W, TensorView<float> norms, Stream& stream) {
  const std::size_t features = W.axis(0), d = W.axis(1);
  expect_shape(norms, "norms", {{"F", features}});
  if constexpr (has_cuda)
    if (stream.device().kind == DeviceKind::cuda) return cuda::row_norms(W, norms, stream);
  expect_cpu(stream, "row_norms");
  for_each_row(features, [&](std::size_t f) {
    norms.data()[f] = static_cast<float>(std::sqrt(squared_norm(W.data() + f * d, d)));
  });
}

void sum_rates(const RowEntries& entries, float steepness, TensorView<const std::uint8_t> included,
               TensorView<std::uint64_t> rates, Stream& stream) {
  expect_shape(included, "included", {{"n", entries.rows()}});
  if constexpr (has_cuda)
    if (stream.device().kind == DeviceKind::cuda)
      return cuda::sum_rates(entries, steepness, included, rates, stream);
  expect_cpu(stream, "sum_rates");
  std::ranges::fill(rates.span(), std::uint64_t{0});
  for (std::size_t row = 0; row < entries.rows(); ++row) {
    rates.data()[rates.size() - 1] += included.data()[row] != 0 ? 1 : 0;
    const std::uint64_t first = entries.starts.data()[row];
    for (std::uint64_t j = first; j < first + entries.counts.data()[row]; ++j)
      rates.data()[entries.features.data()[j]] +=
          rate_in_units(steepness, entries.values.data()[j]);
  }
}

void rate_slopes(TensorView<const std::uint64_t> rates, double target, TensorView<float> slopes,
                 TensorView<double> penalty, Stream& stream) {
  const std::size_t features = slopes.size();
  expect_shape(rates, "rates", {{"F + 1", features + 1}});
  REFRACT_ASSERT(target > 0 && target < 1, "target {}", target);
  if constexpr (has_cuda)
    if (stream.device().kind == DeviceKind::cuda)
      return cuda::rate_slopes(rates, target, slopes, penalty, stream);
  expect_cpu(stream, "rate_slopes");
  const auto rows = static_cast<double>(rates.data()[features]);
  double sum = 0;
  for (std::size_t f = 0; f < features; ++f) {
    if (rows == 0) {
      slopes.data()[f] = 0;
      continue;
    }
    const RatePenalty own = rate_penalty(static_cast<double>(rates.data()[f]) / kRateUnit / rows,
                                         target, [](double value) { return std::log(value); });
    slopes.data()[f] = static_cast<float>(own.slope);
    sum += own.value;
  }
  penalty.data()[0] = sum * rows;
}

}  // namespace refract
