#include "refract/sae/saelens.hpp"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <type_traits>

#include "refract/base/error.hpp"
#include "refract/base/parallel.hpp"
#include "sae/host_rows.hpp"

namespace refract {
namespace {

using Json = nlohmann::ordered_json;

// The format as of this SAELens release; without the key its loader takes the file for an old one
// and drops the metadata.
constexpr const char* kSaeLensVersion = "6.18.0";

Json parse(const std::string& key, const std::string& text) {
  Json value = Json::parse(text, nullptr, false);
  REFRACT_ASSERT(!value.is_discarded(), "{} is not JSON: {}", key, text);
  return value;
}

// A tile of both orders fits the first cache, and a row of it is whole cache lines.
constexpr std::size_t kTile = 64;
constexpr std::size_t kPieceElements = std::size_t{1} << 20;

float stored_as(float value, float) { return value; }
BFloat16 stored_as(float value, BFloat16) { return to_bf16(value); }

// Features [first, ..) of a tensor in pieces, each converted by all threads.
template <typename Stored>
void write_values(const SaeExport::Named& tensor, TensorView<const float> rows, std::size_t first,
                  SafetensorsWriter& file) {
  const float* values = rows.data();
  const std::size_t size = rows.size(), from = first * row_elements(rows);
  if (std::is_same_v<Stored, float> && tensor.divisor == 1)
    return file.write(tensor.name, from * sizeof(float), std::as_bytes(rows.span()));
  std::vector<Stored> piece(std::min(size, kPieceElements));
  for (std::size_t at = 0; at < size; at += piece.size()) {
    const std::size_t count = std::min(piece.size(), size - at);
    parallel_for((count + kTile * kTile - 1) / (kTile * kTile), [&](std::size_t part) {
      const std::size_t end = std::min(count, (part + 1) * kTile * kTile);
      for (std::size_t i = part * kTile * kTile; i < end; ++i)
        piece[i] = stored_as(values[at + i] / tensor.divisor, Stored{});
    });
    file.write(tensor.name, (from + at) * sizeof(Stored),
               std::as_bytes(std::span(piece).first(count)));
  }
}

// Features [first, first + n) of [F, D] -> columns of the bytes of [D, F]: rows [d, d + 64) of them
// at a time, in tiles of 64 x 64.
template <typename Stored>
void write_transposed(const SaeExport::Named& tensor, TensorView<const float> values,
                      std::size_t first, std::size_t d_sae, SafetensorsWriter& file) {
  const std::size_t features = values.axis(0), width = values.axis(1);
  std::vector<Stored> rows(std::min(kTile, width) * features);
  for (std::size_t d = 0; d < width; d += kTile) {
    const std::size_t count = std::min(kTile, width - d);
    parallel_for((features + kTile - 1) / kTile, [&](std::size_t t) {
      const std::size_t f = t * kTile, tall = std::min(kTile, features - f);
      std::array<float, kTile * kTile> tile;
      for (std::size_t i = 0; i < tall; ++i)
        for (std::size_t j = 0; j < count; ++j)
          tile[j * kTile + i] = values.data()[(f + i) * width + d + j];
      for (std::size_t j = 0; j < count; ++j)
        for (std::size_t i = 0; i < tall; ++i)
          rows[j * features + f + i] = stored_as(tile[j * kTile + i] / tensor.divisor, Stored{});
    });
    file.write_rows(tensor.name, (d * d_sae + first) * sizeof(Stored), features * sizeof(Stored),
                    d_sae * sizeof(Stored), std::as_bytes(std::span(rows).first(count * features)));
  }
}

template <typename Stored>
void write_owned_as(SafetensorsWriter& file, const SaeExport& part, const OwnedFeatures& own,
                    Stream& stream) {
  for (const SaeExport::Named& tensor : part.tensors) {
    const bool features = has_feature_axis(tensor.name);
    if (!features && !own.replicated) continue;
    const std::size_t first = features ? own.features.first : 0;
    const TensorView<const float> rows =
        features ? tensor.values.rows(first - part.first_feature, own.features.count)
                 : tensor.values;
    for_host_rows<float>(rows, kTile, stream, [&](std::size_t at, TensorView<const float> some) {
      if (tensor.transposed)
        write_transposed<Stored>(tensor, some, first + at, part.d_sae, file);
      else
        write_values<Stored>(tensor, some, first + at, file);
    });
  }
}

void expect_export_dtype(DType dtype) {
  if (dtype != DType::f32 && dtype != DType::bf16)
    throw ConfigError("SAELens export dtype is {}; expected fp32 or bf16.", name(dtype));
}

}  // namespace

SafetensorsWriter open_saelens_weights(const fs::path& folder, const SaeExport& part, DType dtype,
                                       FileWriter::Begin begin) {
  std::vector<TensorEntry> entries;
  for (const SaeExport::Named& tensor : part.tensors) {
    TensorEntry& entry = entries.emplace_back();
    entry.name = tensor.name;
    entry.dtype = safetensors_word(dtype);
    for (std::size_t i = 0; i < tensor.values.shape().rank(); ++i)
      entry.shape.push_back(tensor.values.axis(i));
    if (has_feature_axis(tensor.name)) entry.shape.front() = part.d_sae;
    if (tensor.transposed) std::ranges::reverse(entry.shape);
  }
  return {folder / "sae_weights.safetensors", SafetensorsLayout(entries), begin};
}

void write_owned(SafetensorsWriter& file, const SaeExport& part, DType dtype,
                 const OwnedFeatures& own, Stream& stream) {
  expect_export_dtype(dtype);
  dtype == DType::f32 ? write_owned_as<float>(file, part, own, stream)
                      : write_owned_as<BFloat16>(file, part, own, stream);
}

WrittenFile write_saelens_config(const fs::path& folder, const SaeExport& exported, DType dtype,
                                 const std::map<std::string, std::string>& metadata) {
  expect_export_dtype(dtype);
  Json cfg;
  cfg["architecture"] = exported.architecture;
  cfg["d_in"] = exported.d_in;
  cfg["d_sae"] = exported.d_sae;
  cfg["dtype"] = dtype == DType::f32 ? "float32" : "bfloat16";
  cfg["device"] = "cpu";
  cfg["apply_b_dec_to_input"] = exported.apply_b_dec_to_input;
  cfg["normalize_activations"] = "none";
  cfg["reshape_activations"] = "none";
  for (const auto& [key, text] : exported.json_values) cfg[key] = parse(key, text);
  cfg["metadata"]["sae_lens_version"] = kSaeLensVersion;
  for (const auto& [key, text] : metadata) cfg["metadata"][key] = parse(key, text);
  return write_unsynced(folder / "cfg.json", cfg.dump(1) + "\n");
}

std::vector<WrittenFile> write_saelens_folder(const fs::path& folder, const SaeExport& exported,
                                              DType dtype,
                                              const std::map<std::string, std::string>& metadata) {
  std::vector<WrittenFile> written{write_saelens_config(folder, exported, dtype, metadata)};
  REFRACT_ASSERT(!exported.tensors.empty(), "an export without a tensor");
  Stream stream(exported.tensors.front().values.device());
  SafetensorsWriter file = open_saelens_weights(folder, exported, dtype, FileWriter::Begin::create);
  write_owned(file, exported, dtype, {{0, exported.d_sae}, true}, stream);
  written.push_back(file.close());
  return written;
}

}  // namespace refract
