#pragma once
// tests/data/baselines_golden.safetensors, made by scikit-learn (make_baselines_golden.py).
#include <string_view>

#include "refract/store/safetensors.hpp"
#include "refract/tensor/tensor.hpp"

namespace refract::test {

inline const SafetensorsFile& baselines_golden() {
  static const SafetensorsFile file(REFRACT_SOURCE_DIR "/tests/data/baselines_golden.safetensors");
  return file;
}

// [n, m]; of one axis: [1, n].
inline Tensor<float> golden(std::string_view name) {
  const StoredTensor& stored = baselines_golden().at(name);
  Tensor<float> out(stored.shape.size() == 2 ? Shape{stored.shape[0], stored.shape[1]}
                                             : Shape{1, stored.shape[0]});
  read_f32(stored, out.span());
  return out;
}

}  // namespace refract::test
