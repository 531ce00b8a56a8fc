#pragma once
#include <cstddef>

#include "refract/stages/reconstructor.hpp"

namespace refract::test {

// x_hat = x + shift in every place.
class Shifted final : public Reconstructor {
 public:
  explicit Shifted(float shift) : shift_(shift) {}
  [[nodiscard]] std::size_t components() const override { return 1; }
  void reconstruct(TensorView<const float> x, std::span<const std::uint8_t> included,
                   SparseActs& acts, TensorView<float> x_hat) override {
    acts.row_starts.assign(x.axis(0) + 1, 0);
    for (std::size_t i = 0; i < x.size(); ++i) x_hat.data()[i] = x.data()[i] + shift_;
    for (const std::uint8_t flag : included) asked_ += flag;
  }
  [[nodiscard]] std::size_t asked() const { return asked_; }  // rows that took part

 private:
  float shift_;
  std::size_t asked_ = 0;
};

}  // namespace refract::test
