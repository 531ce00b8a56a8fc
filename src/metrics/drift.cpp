#include "refract/metrics/drift.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "refract/base/error.hpp"
#include "refract/base/parallel.hpp"
#include "refract/metrics/quantile.hpp"
#include "refract/tensor/dot.hpp"

namespace refract {
namespace {

// Nothing where a or b is zero.
std::optional<double> cosine_of(std::span<const float> a, std::span<const float> b) {
  double product = 0;
  for (std::size_t j = 0; j < a.size(); ++j)
    product += static_cast<double>(a[j]) * static_cast<double>(b[j]);
  const double norms = norm_of(a) * norm_of(b);
  if (norms == 0) return std::nullopt;
  return std::clamp(product / norms, -1.0, 1.0);  // which leaves what is not a number
}

void expect_finite(double value, std::string_view of) {
  if (std::isfinite(value)) return;
  throw NumericalError(
      "{}: its cosine with its earlier self is {}. Look into both checkpoints for values that are "
      "not finite; leave the earlier one out if it holds them.",
      of, value);
}

}  // namespace

double cosine(std::string_view of, std::span<const float> a, std::span<const float> b) {
  REFRACT_ASSERT(a.size() == b.size(), "{} and {} values", a.size(), b.size());
  const double value = cosine_of(a, b).value_or(0);
  expect_finite(value, of);
  return value;
}

RowDrift row_drift(std::string_view of, TensorView<const float> now,
                   TensorView<const float> earlier) {
  const std::size_t features = now.axis(0);
  expect_shape(earlier, "earlier", {{"F", features}, {"D", now.axis(1)}});
  std::vector<std::optional<double>> of_row(features);
  parallel_for(features, [&](std::size_t f) { of_row[f] = cosine_of(now.row(f), earlier.row(f)); });
  RowDrift out;
  std::vector<double> cosines;
  double sum = 0;
  std::uint64_t drifted = 0;
  for (std::size_t f = 0; f < features; ++f) {
    if (!of_row[f]) continue;
    expect_finite(*of_row[f], fmt::format("{}: row {}", of, f));
    cosines.push_back(*of_row[f]);
    sum += cosines.back();
    drifted += cosines.back() < kDrifted ? 1 : 0;
  }
  out.rows = cosines.size();
  out.zero_rows = features - out.rows;
  if (out.rows == 0) return out;
  std::ranges::sort(cosines);
  out.mean = sum / static_cast<double>(out.rows);
  out.p05 = quantile(cosines, 0.05);
  out.share_drifted = static_cast<double>(drifted) / static_cast<double>(out.rows);
  return out;
}

}  // namespace refract
