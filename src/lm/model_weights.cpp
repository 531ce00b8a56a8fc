#include "lm/model_weights.hpp"

#include <nlohmann/json.hpp>
#include <set>

#include "refract/base/error.hpp"
#include "refract/base/finite.hpp"
#include "refract/lm/language_model.hpp"

namespace refract {
namespace {

constexpr std::string_view kSingle = "model.safetensors", kIndex = "model.safetensors.index.json";

// The shards an index names, sorted; each must lie in the folder itself.
std::set<std::string> shards_of_index(const fs::path& path) {
  const auto index = nlohmann::json::parse(read_file(path), nullptr, false);
  const auto map = index.is_object() ? index.find("weight_map") : index.end();
  if (!index.is_object() || map == index.end() || !map->is_object() || map->empty()) {
    throw DataError("{}: no weight_map. Fetch the model again.", path.string());
  }
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : map->items()) {
    if (!shard.is_string() ||
        fs::path(shard.get<std::string>()).filename() != shard.get<std::string>()) {
      throw DataError("{}: tensor '{}' is in {}, expected a file name in the same folder.",
                      path.string(), tensor, shard.dump());
    }
    shards.insert(shard.get<std::string>());
  }
  return shards;
}

std::set<std::string> weight_files(const fs::path& folder) {
  if (fs::exists(folder / kSingle)) return {std::string(kSingle)};
  if (fs::exists(folder / kIndex)) return shards_of_index(folder / kIndex);
  throw DataError(
      "{}: neither {} nor {} is there. Copy the model's weights there, or give the folder that has "
      "them; weights of another format must be saved as safetensors first.",
      folder.string(), kSingle, kIndex);
}

void expect_finite(const Tensor<float>& values, std::string_view name, const fs::path& file) {
  const std::size_t at = first_not_finite(values.span());
  if (at == values.size()) return;
  const bool matrix = values.shape().rank() > 1;
  const std::size_t width = matrix ? values.axis(1) : values.size();
  throw NumericalError(
      "{}: tensor '{}' is {} at row {}, column {}. Every weight must be a finite number: fetch the "
      "file again if its published hash differs, else this model cannot be run.",
      file.string(), name, values.data()[at], at / width, at % width);
}

}  // namespace

ModelWeights::ModelWeights(const fs::path& folder) : folder_(folder) {
  std::set<std::string> seen;
  for (const auto& file : weight_files(folder)) {
    for (const auto& tensor : files_.emplace_back(folder / file).tensors()) {
      if (seen.insert(tensor.name).second) continue;
      throw DataError("{}: tensor '{}' is in two shards. Fetch the model again.",
                      (folder / file).string(), tensor.name);
    }
  }
}

std::vector<std::string_view> ModelWeights::names() const {
  std::vector<std::string_view> names;
  for (const auto& file : files_) {
    for (const auto& tensor : file.tensors()) names.push_back(tensor.name);
  }
  return names;
}

const SafetensorsFile* ModelWeights::file_of(std::string_view name) const {
  for (const auto& file : files_) {
    if (file.find(name)) return &file;
  }
  return nullptr;
}

std::string_view ModelWeights::dtype(std::string_view name) const {
  const auto* file = file_of(name);
  if (!file)
    throw DataError("{}: tensor '{}' is missing from the weights.", folder_.string(), name);
  return file->find(name)->dtype;
}

const StoredTensor& ModelWeights::stored(std::string_view name, Shape shape) const {
  const auto* file = file_of(name);
  if (!file) {
    throw DataError(
        "{}: tensor '{}' is missing from the weights. The model is incomplete, or config.json "
        "belongs to another one: fetch it again.",
        folder_.string(), name);
  }
  std::vector<std::size_t> axes;
  for (std::size_t i = 0; i < shape.rank(); ++i) axes.push_back(shape[i]);
  return file->at(name, axes);
}

void ModelWeights::expect(std::string_view name, Shape shape) const {
  expect_f32_readable(stored(name, shape));
}

Tensor<float> ModelWeights::read(std::string_view name, Shape shape) const {
  Tensor<float> values(shape);
  read_f32(stored(name, shape), values.span());
  expect_finite(values, name, file_of(name)->path());
  return values;
}

Tensor<float> ModelWeights::read_transposed(std::string_view name, std::size_t rows,
                                            std::size_t columns) const {
  const auto stored = read(name, {rows, columns});
  Tensor<float> transposed({columns, rows});
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t c = 0; c < columns; ++c)
      transposed.data()[c * rows + r] = stored.data()[r * columns + c];
  }
  return transposed;
}

std::vector<fs::path> model_files(const fs::path& folder) {
  std::vector<fs::path> files{folder / "config.json"};
  for (const std::string& file : weight_files(folder)) files.push_back(folder / file);
  return files;
}

}  // namespace refract
