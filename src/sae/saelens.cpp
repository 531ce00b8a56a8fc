#include "refract/sae/saelens.hpp"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <type_traits>

#include "refract/base/error.hpp"
#include "refract/base/parallel.hpp"
#include "refract/sae/fold.hpp"
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
void write_values(const std::string& name, std::span<const float> values, std::size_t from,
                  SafetensorsWriter& file) {
  if constexpr (std::is_same_v<Stored, float>)
    return file.write(name, from * sizeof(float), std::as_bytes(values));
  std::vector<Stored> piece(std::min(values.size(), kPieceElements));
  for (std::size_t at = 0; at < values.size(); at += piece.size()) {
    const std::size_t count = std::min(piece.size(), values.size() - at);
    parallel_for((count + kTile * kTile - 1) / (kTile * kTile), [&](std::size_t part) {
      const std::size_t end = std::min(count, (part + 1) * kTile * kTile);
      for (std::size_t i = part * kTile * kTile; i < end; ++i)
        piece[i] = stored_as(values[at + i], Stored{});
    });
    file.write(name, (from + at) * sizeof(Stored), std::as_bytes(std::span(piece).first(count)));
  }
}

// Features [first, first + n) of [F, D] -> columns of the bytes of [D, F]: rows [d, d + 64) of them
// at a time, in tiles of 64 x 64.
template <typename Stored>
void write_transposed(const std::string& name, TensorView<const float> values, std::size_t first,
                      std::size_t d_sae, SafetensorsWriter& file) {
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
          rows[j * features + f + i] = stored_as(tile[j * kTile + i], Stored{});
    });
    file.write_rows(name, (d * d_sae + first) * sizeof(Stored), features * sizeof(Stored),
                    d_sae * sizeof(Stored), std::as_bytes(std::span(rows).first(count * features)));
  }
}

// take(first feature, rows [n, width]): the tensor's rows from feature `first` on as they are
// written, a piece at a time where they are folded.
template <typename Take>
void for_folded_rows(const FoldedExport& folded, const SaeExport::Named& tensor,
                     TensorView<const float> rows, std::size_t first, Take&& take) {
  if (folded.leaves(tensor.role)) return take(first, rows);
  const bool features = has_feature_axis(tensor.role);
  const std::size_t n = rows.axis(0), width = row_elements(rows);
  const std::size_t most =
      features ? std::max<std::size_t>(1, kHostPieceBytes / sizeof(float) / width / kTile) * kTile
               : n;
  std::vector<float> piece(std::min(most, n) * width);
  for (std::size_t at = 0; at < n; at += most) {
    const TensorView<const float> some = rows.rows(at, std::min(most, n - at));
    folded.rows(tensor, first + at, some, std::span(piece).first(some.size()));
    take(first + at, TensorView<const float>(piece.data(), some.shape()));
  }
}

template <typename Stored>
void write_owned_as(SafetensorsWriter& file, const SaeExport& part, const OwnedFeatures& own,
                    Stream& stream) {
  const FoldedExport folded(part, own.features, stream);
  for (const SaeExport::Named& tensor : part.tensors) {
    const bool features = has_feature_axis(tensor.role);
    if (!features && !own.replicated) continue;
    const std::size_t first = features ? own.features.first : 0;
    const TensorView<const float> rows =
        features ? tensor.values.rows(first - part.first_feature, own.features.count)
                 : tensor.values;
    for_host_rows<float>(rows, kTile, stream, [&](std::size_t at, TensorView<const float> some) {
      for_folded_rows(folded, tensor, some, first + at,
                      [&](std::size_t feature, TensorView<const float> piece) {
                        if (tensor.role == TensorRole::encoder)
                          write_transposed<Stored>(tensor.name, piece, feature, part.d_sae, file);
                        else
                          write_values<Stored>(tensor.name, piece.span(),
                                               feature * row_elements(piece), file);
                      });
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
    if (has_feature_axis(tensor.role)) entry.shape.front() = part.d_sae;
    if (tensor.role == TensorRole::encoder) std::ranges::reverse(entry.shape);
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
  cfg["normalize_activations"] = exported.normalize_activations;
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

SaelensWeights folded_weights(const SaeExport& exported) {
  SaelensWeights out;
  Stream host;
  const FoldedExport folded(exported, {0, exported.d_sae}, host);
  for (const SaeExport::Named& tensor : exported.tensors) {
    Tensor<float>* to = tensor.role == TensorRole::encoder        ? &out.W_enc
                        : tensor.role == TensorRole::decoder      ? &out.W_dec
                        : tensor.role == TensorRole::decoder_bias ? &out.b_dec
                                                                  : nullptr;
    if (!to) continue;
    *to = Tensor<float>(tensor.values.shape());
    folded.rows(tensor, 0, tensor.values, to->span());
  }
  return out;
}

}  // namespace refract
