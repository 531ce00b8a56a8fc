#include "stages/baseline_dictionary.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "refract/base/parallel.hpp"
#include "refract/ops/select_top.hpp"
#include "refract/tensor/dot.hpp"

namespace refract {
namespace {

// Rows that threads are given at a time: their work memory is made once for all of them.
constexpr std::size_t kRowsPerTask = 64;

class FromDictionary final : public Reconstructor {
 public:
  FromDictionary(std::shared_ptr<const BaselineDictionary> dictionary, std::size_t k)
      : dictionary_(std::move(dictionary)),
        all_(dictionary_->directions.axis(0)),
        k_(std::min(k, all_)),
        norms_(all_) {
    for (std::size_t j = 0; j < all_; ++j)
      norms_[j] = static_cast<float>(norm_of(dictionary_->directions.row(j)));
    if (!dictionary_->orthonormal) gram_ = CodingDirections(dictionary_->directions.cview());
  }

  [[nodiscard]] std::size_t components() const override { return dictionary_->leading ? k_ : all_; }

  void reconstruct(TensorView<const float> x, std::span<const std::uint8_t> /*included*/,
                   SparseActs& acts, TensorView<float> x_hat) override {
    const std::size_t n = x.axis(0);
    expect_shape(x_hat, "x_hat", {{"n", n}, {"D", x.axis(1)}});
    const Tensor<float> rows = centred(x, dictionary_->mean);
    Tensor<float> codes(Shape{n, all_});
    dictionary_->encode(rows.cview(), codes.view());
    std::vector<std::uint32_t> used(n * k_), count(n);
    std::vector<float> values(n * k_);
    parallel_for((n + kRowsPerTask - 1) / kRowsPerTask, [&](std::size_t task) {
      Scratch scratch;
      const std::size_t last = std::min(n, (task + 1) * kRowsPerTask);
      for (std::size_t i = task * kRowsPerTask; i < last; ++i)
        count[i] = reconstruct_row(rows.row(i), codes.row(i), {used.data() + i * k_, k_},
                                   {values.data() + i * k_, k_}, x_hat.row(i), scratch);
    });
    gather(used, values, count, acts);
  }

 private:
  struct Scratch {
    std::vector<float> contributions, along;
    SelectScratch select;
    RefitScratch refit;
  };

  // Returns how many components the row uses.
  std::uint32_t reconstruct_row(std::span<const float> row, std::span<const float> codes,
                                std::span<std::uint32_t> used, std::span<float> values,
                                std::span<float> x_hat, Scratch& scratch) const {
    std::size_t count = k_;
    if (dictionary_->leading)
      std::iota(used.begin(), used.end(), 0U);
    else
      count = select(codes, used, scratch);
    for (std::size_t a = 0; a < count; ++a) values[a] = codes[used[a]];
    if (!dictionary_->orthonormal) fit_again(row, used.first(count), values.first(count), scratch);
    std::ranges::copy(dictionary_->mean, x_hat.begin());
    std::uint32_t kept = 0;
    for (std::size_t a = 0; a < count; ++a) {
      if (values[a] == 0) continue;
      const float value = values[a];
      const float* direction = dictionary_->directions.row(used[a]).data();
      for (std::size_t d = 0; d < x_hat.size(); ++d) x_hat[d] += value * direction[d];
      values[kept] = value;
      used[kept++] = used[a];
    }
    return kept;
  }

  std::size_t select(std::span<const float> codes, std::span<std::uint32_t> used,
                     Scratch& scratch) const {
    scratch.contributions.resize(all_);
    for (std::size_t j = 0; j < all_; ++j)
      scratch.contributions[j] = std::abs(codes[j]) * norms_[j];
    return select_top(scratch.contributions, k_, 0, scratch.select, used.data());
  }

  void fit_again(std::span<const float> row, std::span<const std::uint32_t> used,
                 std::span<float> values, Scratch& scratch) const {
    scratch.along.resize(used.size());
    for (std::size_t a = 0; a < used.size(); ++a)
      scratch.along[a] = dot(row.data(), dictionary_->directions.row(used[a]).data(), row.size());
    refit(gram_.gram(), dictionary_->sign, used, scratch.along, values, scratch.refit);
  }

  void gather(std::span<const std::uint32_t> used, std::span<const float> values,
              std::span<const std::uint32_t> count, SparseActs& acts) const {
    acts.row_starts.assign(1, 0);
    acts.features.clear();
    acts.values.clear();
    for (std::size_t i = 0; i < count.size(); ++i) {
      const auto first = static_cast<std::ptrdiff_t>(i * k_);
      const auto last = first + static_cast<std::ptrdiff_t>(count[i]);
      acts.features.insert(acts.features.end(), used.begin() + first, used.begin() + last);
      acts.values.insert(acts.values.end(), values.begin() + first, values.begin() + last);
      acts.row_starts.push_back(acts.features.size());
    }
  }

  std::shared_ptr<const BaselineDictionary> dictionary_;
  std::size_t all_, k_;
  std::vector<float> norms_;  // of the directions
  CodingDirections gram_;     // of those that are not orthonormal
};

}  // namespace

Tensor<float> centred(TensorView<const float> x, std::span<const float> mean) {
  Tensor<float> out(x.shape());
  parallel_for(x.axis(0), [&](std::size_t i) {
    for (std::size_t d = 0; d < mean.size(); ++d) out.row(i)[d] = x.row(i)[d] - mean[d];
  });
  return out;
}

std::unique_ptr<Reconstructor> reconstructor_of(
    std::shared_ptr<const BaselineDictionary> dictionary, std::size_t k) {
  return std::make_unique<FromDictionary>(std::move(dictionary), k);
}

}  // namespace refract
