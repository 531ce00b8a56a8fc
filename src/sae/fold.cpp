#include "refract/sae/fold.hpp"

#include <algorithm>
#include <cmath>

#include "refract/base/error.hpp"
#include "refract/base/parallel.hpp"
#include "refract/tensor/dot.hpp"
#include "sae/host_rows.hpp"

namespace refract {
namespace {

constexpr std::size_t kTogether = 8;  // rows of a product: each row read of W serves all of them

// out [rows, D] = a [rows, D] W [D, D], in ascending k.
REFRACT_SIMD_CLONES
void multiply(const double* a, std::size_t rows, const float* W, std::size_t d, double* out) {
  std::fill(out, out + rows * d, 0.0);
  for (std::size_t k = 0; k < d; ++k)
    for (std::size_t i = 0; i < rows; ++i) {
      const double factor = a[i * d + k];
      const float* from = W + k * d;
      double* to = out + i * d;
      for (std::size_t j = 0; j < d; ++j) to[j] += factor * static_cast<double>(from[j]);
    }
}

// use(feature, its row times W as fp64 [D]): all rows, some at a time by all threads.
template <typename T, typename Use>
void for_mapped_rows(std::span<const T> values, std::size_t n, TensorView<const float> W,
                     Use&& use) {
  if (n == 0) return;
  const std::size_t d = values.size() / n;
  if (W.size() != 0) expect_shape(W, "W", {{"D", d}, {"D", d}});
  parallel_for((n + kTogether - 1) / kTogether, [&](std::size_t item) {
    const std::size_t first = item * kTogether, count = std::min(kTogether, n - first);
    std::vector<double> rows(values.begin() + static_cast<std::ptrdiff_t>(first * d),
                             values.begin() + static_cast<std::ptrdiff_t>((first + count) * d));
    if (W.size() != 0) {
      std::vector<double> mapped(count * d);
      multiply(rows.data(), count, W.data(), d, mapped.data());
      rows.swap(mapped);
    }
    for (std::size_t i = 0; i < count; ++i)
      use(first + i, std::span<double>(rows).subspan(i * d, d));
  });
}

template <typename T>
void add_shifts(const AffineMap& input, std::span<const T> encoder, std::span<FeatureFold> of) {
  for_mapped_rows(encoder, of.size(), input.W, [&](std::size_t f, std::span<const double> row) {
    double sum = 0;
    for (std::size_t d = 0; d < row.size(); ++d)
      sum += row[d] * static_cast<double>(input.offset[d]);
    of[f].shift = input.factor * sum;
  });
}

template <typename T>
void add_norms(const AffineMap& target, std::span<const T> decoder, std::span<FeatureFold> of) {
  for_mapped_rows(decoder, of.size(), target.inverse,
                  [&](std::size_t f, std::span<const double> row) {
                    double squares = 0;
                    for (const double value : row) squares += value * value;
                    of[f].norm = squares > 0 ? std::sqrt(squares) : 1;
                    of[f].activation = of[f].norm / target.factor;
                  });
}

// Whether what a fold does to other tensors follows from this one.
bool tells(TensorRole role, const Folds& folds, bool centred) {
  const bool shifts = !centred && !folds.input.offset.empty();
  return (role == TensorRole::encoder && shifts) || (role == TensorRole::log_gain && shifts) ||
         (role == TensorRole::decoder && folds.unit_rows);
}

template <typename T>
void add_rows(const Folds& folds, const RoleRows<T>& rows, std::span<FeatureFold> of) {
  switch (rows.role) {
    case TensorRole::encoder: return add_shifts(folds.input, rows.values, of);
    case TensorRole::decoder: return add_norms(folds.target, rows.values, of);
    default:
      for (std::size_t f = 0; f < of.size(); ++f)
        of[f].gain = std::exp(static_cast<double>(rows.values[f]));
  }
}

std::vector<FeatureFold> without_rows(const Folds& folds, std::size_t features) {
  return std::vector<FeatureFold>(features, {.activation = 1 / folds.target.factor});
}

bool is_identity(const AffineMap& map) {
  return map.factor == 1 && map.W.size() == 0 && map.offset.empty();
}

}  // namespace

void fold(SaeExport& exported, const Normaliser& input, const Normaliser& target) {
  exported.folds = {.input = input.affine(), .target = target.affine()};
  exported.folds.unit_rows =
      (exported.free_rows || exported.folds.target.inverse.size() != 0) && !exported.ranks_features;
  exported.normalize_activations = input.normalize_activations();
}

template <typename T>
std::vector<FeatureFold> feature_folds(const Folds& folds, bool centred,
                                       std::span<const RoleRows<T>> tensors, std::size_t features) {
  std::vector<FeatureFold> of = without_rows(folds, features);
  for (const RoleRows<T>& rows : tensors)
    if (tells(rows.role, folds, centred)) add_rows(folds, rows, std::span(of));
  return of;
}

template <typename T>
void fold_rows(const Folds& folds, bool gated, std::span<const FeatureFold> of,
               const RoleRows<T>& rows, std::span<T> out) {
  const std::size_t n = of.size();
  const auto each = [&](auto&& value_of) {
    for (std::size_t f = 0; f < n; ++f)
      out[f] = static_cast<T>(value_of(static_cast<double>(rows.values[f]), of[f]));
  };
  const auto write = [&](std::size_t row, std::span<const double> values, auto&& value_of) {
    for (std::size_t d = 0; d < values.size(); ++d)
      out[row * values.size() + d] = static_cast<T>(value_of(values[d], d));
  };
  switch (rows.role) {
    case TensorRole::encoder:
      return for_mapped_rows(rows.values, n, folds.input.W, [&](std::size_t f, auto row) {
        const double by = folds.input.factor * (gated ? 1 : of[f].activation);
        write(f, row, [&](double value, std::size_t) { return value * by; });
      });
    case TensorRole::decoder:
      return for_mapped_rows(rows.values, n, folds.target.inverse, [&](std::size_t f, auto row) {
        write(f, row, [&](double value, std::size_t) { return value / of[f].norm; });
      });
    case TensorRole::decoder_bias:
      return for_mapped_rows(rows.values, 1, folds.target.inverse, [&](std::size_t, auto row) {
        const std::span<const float> offset = folds.target.offset;
        write(0, row, [&](double value, std::size_t d) {
          return value / folds.target.factor +
                 (offset.empty() ? 0.0 : static_cast<double>(offset[d]));
        });
      });
    case TensorRole::encoder_bias:
      return each([&](double value, const FeatureFold& fold) {
        return (gated ? 1 : fold.activation) * (value - fold.shift);
      });
    case TensorRole::threshold:
      return each([&](double value, const FeatureFold& fold) {
        return (gated ? 1 : fold.activation) * value;
      });
    case TensorRole::magnitude_bias:
      return each([](double value, const FeatureFold& fold) {
        return fold.activation * (value - fold.gain * fold.shift);
      });
    case TensorRole::log_gain:
      return each(
          [](double value, const FeatureFold& fold) { return value + std::log(fold.activation); });
  }
}

template std::vector<FeatureFold> feature_folds(const Folds&, bool,
                                                std::span<const RoleRows<float>>, std::size_t);
template std::vector<FeatureFold> feature_folds(const Folds&, bool,
                                                std::span<const RoleRows<double>>, std::size_t);
template void fold_rows(const Folds&, bool, std::span<const FeatureFold>, const RoleRows<float>&,
                        std::span<float>);
template void fold_rows(const Folds&, bool, std::span<const FeatureFold>, const RoleRows<double>&,
                        std::span<double>);

FoldedExport::FoldedExport(const SaeExport& exported, FeatureRange features, Stream& stream)
    : exported_(exported),
      first_(features.first),
      of_(without_rows(exported.folds, features.count)) {
  REFRACT_ASSERT(features.first >= exported.first_feature, "feature {} of a part from {}",
                 features.first, exported.first_feature);
  for (const SaeExport::Named& tensor : exported.tensors) {
    gated_ |= tensor.role == TensorRole::log_gain;
    if (!tells(tensor.role, exported.folds, exported.apply_b_dec_to_input)) continue;
    for_host_rows<float>(
        tensor.values.rows(features.first - exported.first_feature, features.count), 1, stream,
        [&](std::size_t at, TensorView<const float> some) {
          add_rows<float>(exported.folds, {tensor.role, some.span()},
                          std::span(of_).subspan(at, some.axis(0)));
        });
  }
}

bool FoldedExport::leaves(TensorRole role) const {
  const Folds& folds = exported_.folds;
  if (role == TensorRole::decoder) return folds.target.inverse.size() == 0 && !folds.unit_rows;
  return is_identity(folds.input) && is_identity(folds.target) && !folds.unit_rows;
}

void FoldedExport::rows(const SaeExport::Named& tensor, std::size_t first,
                        TensorView<const float> values, std::span<float> out) const {
  const auto of = has_feature_axis(tensor.role)
                      ? std::span(of_).subspan(first - first_, values.axis(0))
                      : std::span<const FeatureFold>();
  fold_rows<float>(exported_.folds, gated_, of, {tensor.role, values.span()}, out);
}

}  // namespace refract
