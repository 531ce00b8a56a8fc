#pragma once
// The tensors of a model folder: model.safetensors, or the shards model.safetensors.index.json
// names.
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "refract/store/safetensors.hpp"
#include "refract/tensor/tensor.hpp"

namespace refract {

class ModelWeights {
 public:
  explicit ModelWeights(
      const std::filesystem::path& folder);  // DataError: no weights, damaged, a name twice
  [[nodiscard]] std::vector<std::string_view> names() const;
  [[nodiscard]] bool contains(std::string_view name) const { return file_of(name) != nullptr; }
  // DataError as `read` would throw it, without reading.
  void expect(std::string_view name, Shape shape) const;
  // The format's word for a stored tensor's dtype, e.g. "BF16"; DataError when it is missing.
  [[nodiscard]] std::string_view dtype(std::string_view name) const;
  // fp32 copy of a stored tensor; DataError when it is missing or has another shape, NumericalError
  // when a value is not finite.
  [[nodiscard]] Tensor<float> read(std::string_view name, Shape shape) const;
  // The transpose of a stored [rows, columns] tensor: [columns, rows].
  [[nodiscard]] Tensor<float> read_transposed(std::string_view name, std::size_t rows,
                                              std::size_t columns) const;

 private:
  [[nodiscard]] const SafetensorsFile* file_of(std::string_view name) const;
  [[nodiscard]] const StoredTensor& stored(std::string_view name, Shape shape) const;
  std::filesystem::path folder_;
  std::vector<SafetensorsFile> files_;  // in name order
};

}  // namespace refract
