#pragma once
#include "refract/base/random.hpp"
#include "refract/tensor/tensor.hpp"

namespace refract::test {

// Independent normal values.
inline Tensor<float> random_tensor(Shape shape, std::uint64_t seed, double scale = 1) {
  Tensor<float> tensor(shape);
  const CounterRng rng(Purpose::test, {seed});
  for (std::size_t i = 0; i < tensor.size(); ++i)
    tensor.data()[i] = static_cast<float>(scale * rng.normal(i));
  return tensor;
}

}  // namespace refract::test
