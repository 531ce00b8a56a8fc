#include "refract/sae/normaliser.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <optional>

#include "refract/base/error.hpp"
#include "refract/base/parallel.hpp"
#include "refract/ops/row_kernels.hpp"
#include "refract/ops/row_map.hpp"
#include "refract/ops/row_norm.hpp"

namespace refract {
namespace {

void expect_whole_rows(std::size_t column, std::size_t width, TensorView<float> u) {
  REFRACT_ASSERT(column == 0 && width == u.axis(1), "columns {} to {} of {}", column,
                 column + width, u.axis(1));
}

// Elementwise on the host, where evaluation is; a batch is scaled while it is gathered.
class ScaleRows final : public RowNormaliser {
 public:
  explicit ScaleRows(double factor) : factor_(static_cast<float>(factor)) {}
  void gather(const StoredRows& stored, TensorView<const std::uint32_t> rows, std::size_t column,
              TensorView<float> u, Stream& stream) override {
    gather_rows(stored, rows, factor_, column, u, stream);
  }
  void to(TensorView<const float> x, TensorView<float> u, Stream&) override {
    for_each_row(
        x, [&](std::size_t i) { scale(x.row(i).data(), factor_, x.axis(1), u.row(i).data()); });
  }
  void back(TensorView<const float>, TensorView<const float> u_hat, TensorView<float> x_hat,
            Stream&) override {
    for_each_row(u_hat, [&](std::size_t i) {
      for (std::size_t d = 0; d < u_hat.axis(1); ++d) x_hat.row(i)[d] = u_hat.row(i)[d] / factor_;
    });
  }

 private:
  template <typename Body>
  static void for_each_row(TensorView<const float> rows, Body&& body) {
    REFRACT_ASSERT(rows.device().kind == DeviceKind::cpu, "rows on a device");
    constexpr std::size_t kRows = 64;
    const std::size_t n = rows.axis(0);
    parallel_for((n + kRows - 1) / kRows, [&](std::size_t item) {
      for (std::size_t i = item * kRows; i < std::min(n, (item + 1) * kRows); ++i) body(i);
    });
  }
  float factor_;
};

class Scaling final : public Normaliser {
 public:
  explicit Scaling(double factor) : factor_(factor) {}
  [[nodiscard]] std::vector<float> of_point(std::span<const float> x) const override {
    std::vector<float> u(x.begin(), x.end());
    for (float& value : u) value *= static_cast<float>(factor_);
    return u;
  }
  [[nodiscard]] AffineMap affine() const override {
    return {.factor = static_cast<double>(static_cast<float>(factor_))};
  }
  [[nodiscard]] std::unique_ptr<RowNormaliser> on(Device) const override {
    return std::make_unique<ScaleRows>(factor_);
  }

 private:
  double factor_;
};

class LayerNormRows final : public RowNormaliser {
 public:
  void gather(const StoredRows& stored, TensorView<const std::uint32_t> rows, std::size_t column,
              TensorView<float> u, Stream& stream) override {
    expect_whole_rows(column, stored.width, u);
    gather_rows(stored, rows, 1, 0, u, stream);
    normalise_rows(u, u, stream);
  }
  void to(TensorView<const float> x, TensorView<float> u, Stream& stream) override {
    normalise_rows(x, u, stream);
  }
  void back(TensorView<const float> x, TensorView<const float> u_hat, TensorView<float> x_hat,
            Stream& stream) override {
    restore_rows(x, u_hat, x_hat, stream);
  }
};

class LayerNorm final : public Normaliser {
 public:
  // typical_std: the root mean square, over rows, of a row's std.
  explicit LayerNorm(double typical_std) : typical_std_(typical_std) {}
  // A median is shorter than the rows it stands between, so its own std would not do: it is
  // centred, and divided by that of a typical row.
  [[nodiscard]] std::vector<float> of_point(std::span<const float> x) const override {
    const double mean = std::accumulate(x.begin(), x.end(), 0.0) / static_cast<double>(x.size());
    std::vector<float> u;
    for (const float value : x)
      u.push_back(static_cast<float>((static_cast<double>(value) - mean) /
                                     (typical_std_ + kRowNormEpsilon)));
    return u;
  }
  [[nodiscard]] std::string_view normalize_activations() const override { return "layer_norm"; }
  [[nodiscard]] std::unique_ptr<RowNormaliser> on(Device) const override {
    return std::make_unique<LayerNormRows>();
  }

 private:
  double typical_std_;
};

class WhitenRows final : public RowNormaliser {
 public:
  WhitenRows(std::shared_ptr<const WhiteningMaps> maps, std::vector<float> mean, Device device)
      : maps_(std::move(maps)), mean_(std::move(mean)), device_(device) {}
  void gather(const StoredRows& stored, TensorView<const std::uint32_t> rows, std::size_t column,
              TensorView<float> u, Stream& stream) override {
    expect_whole_rows(column, stored.width, u);
    if (gathered_.shape() != u.shape()) gathered_ = Tensor<float>(u.shape(), device_);
    gather_rows(stored, rows, 1, 0, gathered_.view(), stream);
    to(gathered_.cview(), u, stream);
  }
  void to(TensorView<const float> x, TensorView<float> u, Stream& stream) override {
    if (!to_) to_.emplace(maps_->W.cview(), mean(), TensorView<const float>(), device_);
    to_->run(x, u, stream);
  }
  void back(TensorView<const float>, TensorView<const float> u_hat, TensorView<float> x_hat,
            Stream& stream) override {
    if (!back_) back_.emplace(maps_->inverse.cview(), TensorView<const float>(), mean(), device_);
    back_->run(u_hat, x_hat, stream);
  }

 private:
  [[nodiscard]] TensorView<const float> mean() const { return {mean_.data(), Shape{mean_.size()}}; }
  std::shared_ptr<const WhiteningMaps> maps_;
  std::vector<float> mean_;
  Device device_;
  std::optional<RowMap> to_, back_;  // made by the first use
  Tensor<float> gathered_;
};

class Whitening final : public Normaliser {
 public:
  Whitening(std::shared_ptr<const WhiteningMaps> maps, std::vector<float> mean)
      : maps_(std::move(maps)), mean_(std::move(mean)) {}
  [[nodiscard]] std::vector<float> of_point(std::span<const float> x) const override {
    std::vector<float> u;
    for (std::size_t i = 0; i < mean_.size(); ++i) {
      double sum = 0;
      for (std::size_t j = 0; j < mean_.size(); ++j)
        sum += static_cast<double>(maps_->W.row(i)[j]) *
               (static_cast<double>(x[j]) - static_cast<double>(mean_[j]));
      u.push_back(static_cast<float>(sum));
    }
    return u;
  }
  [[nodiscard]] AffineMap affine() const override {
    return {.W = maps_->W.cview(), .inverse = maps_->inverse.cview(), .offset = mean_};
  }
  [[nodiscard]] std::unique_ptr<RowNormaliser> on(Device device) const override {
    return std::make_unique<WhitenRows>(maps_, mean_, device);
  }

 private:
  std::shared_ptr<const WhiteningMaps> maps_;
  std::vector<float> mean_;
};

SharedNormaliser make_none(const HookCalibration&) { return scaling(1); }

SharedNormaliser make_sqrt_d(const HookCalibration& hook) {
  const double factor = std::sqrt(static_cast<double>(hook.d_in)) / hook.mean_norm;
  if (!std::isnormal(static_cast<float>(factor)))
    throw NumericalError(
        "{}: rows have a mean norm of {}, which fp32 cannot scale to sqrt({}). Train on another "
        "hook point, or set normalize: none for its SAEs.",
        hook.hook, hook.mean_norm, hook.d_in);
  return scaling(factor);
}

// The mean over rows of |x - mean of its entries|^2, from the covariance and the mean: of what all
// entries of a row have in common nothing is left.
SharedNormaliser make_layer_norm(const HookCalibration& hook) {
  const std::size_t d = hook.d_in;
  double squares = 0, sum = 0, all = 0;
  for (std::size_t i = 0; i < d; ++i) {
    const auto mean = static_cast<double>(hook.mean[i]);
    squares += mean * mean;
    sum += mean;
  }
  for (std::size_t i = 0; i < hook.covariance.size(); ++i) {
    all += hook.covariance[i];
    if (i % (d + 1) == 0) squares += hook.covariance[i];
  }
  const double rest = squares - (all + sum * sum) / static_cast<double>(d);
  const double variance = rest / static_cast<double>(std::max<std::size_t>(1, d - 1));
  return std::make_shared<LayerNorm>(std::sqrt(std::max(0.0, variance)));
}

SharedNormaliser make_whiten(const HookCalibration& hook) {
  if (!hook.whitening)
    throw DataError(
        "calibration.h5 has no whitening of {}: it was made before normalize: whiten was built, or "
        "of a single row. Begin a new run folder, or set normalize: sqrt_d for its SAEs.",
        hook.hook);
  return std::make_shared<Whitening>(hook.whitening, hook.mean);
}

std::size_t no_bytes(std::size_t, std::size_t, Device) { return 0; }
std::size_t whiten_bytes(std::size_t width, std::size_t rows, Device device) {
  return RowMap::bytes(width, width, device) + sizeof(float) * width * rows;
}

struct NormaliseRow {
  std::string_view word;
  SharedNormaliser (*make)(const HookCalibration& hook);
  std::size_t (*bytes)(std::size_t width, std::size_t rows, Device device);
  bool several_hooks, other_rows;
};
constexpr NormaliseRow kTable[] = {
    {"none", make_none, no_bytes, true, true},
    {"sqrt_d", make_sqrt_d, no_bytes, true, true},
    {"layer_norm", make_layer_norm, no_bytes, false, false},
    {"whiten", make_whiten, whiten_bytes, false, true},
};
constexpr auto kWords = [] {
  std::array<std::string_view, std::size(kTable)> words;
  for (std::size_t i = 0; i < words.size(); ++i) words[i] = kTable[i].word;
  return words;
}();

const NormaliseRow& row_of(std::string_view word) {
  const auto* row = std::ranges::find(kTable, word, &NormaliseRow::word);
  REFRACT_ASSERT(row != std::end(kTable), "normalize {}", word);
  return *row;
}

}  // namespace

std::span<const std::string_view> normalize_words() { return kWords; }
SharedNormaliser scaling(double factor) { return std::make_shared<Scaling>(factor); }
SharedNormaliser make_normaliser(const HookCalibration& hook, std::string_view normalize) {
  return row_of(normalize).make(hook);
}
bool restores_other_rows(std::string_view normalize) { return row_of(normalize).other_rows; }
bool takes_several_hooks(std::string_view normalize) { return row_of(normalize).several_hooks; }
std::size_t normaliser_bytes(std::string_view normalize, std::size_t width, std::size_t rows,
                             Device device) {
  return row_of(normalize).bytes(width, rows, device);
}

}  // namespace refract
