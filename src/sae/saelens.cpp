#include "refract/sae/saelens.hpp"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <type_traits>

#include "refract/base/error.hpp"
#include "refract/base/parallel.hpp"
#include "refract/store/safetensors.hpp"

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

// In pieces, each converted by all threads.
template <typename Stored>
void write_values(const SaeExport::Named& tensor, FileWriter& file) {
  const float* values = tensor.values.data();
  const std::size_t size = tensor.values.size();
  if (std::is_same_v<Stored, float> && tensor.divisor == 1)
    return file.write(std::as_bytes(tensor.values.span()));
  std::vector<Stored> piece(std::min(size, kPieceElements));
  for (std::size_t at = 0; at < size; at += piece.size()) {
    const std::size_t count = std::min(piece.size(), size - at);
    parallel_for((count + kTile * kTile - 1) / (kTile * kTile), [&](std::size_t part) {
      const std::size_t end = std::min(count, (part + 1) * kTile * kTile);
      for (std::size_t i = part * kTile * kTile; i < end; ++i)
        piece[i] = stored_as(values[at + i] / tensor.divisor, Stored{});
    });
    file.write(std::as_bytes(std::span(piece).first(count)));
  }
}

// values [F, D] -> bytes of [D, F]: rows [d, d + 64) at a time, in tiles of 64 x 64.
template <typename Stored>
void write_transposed(const SaeExport::Named& tensor, FileWriter& file) {
  const std::size_t features = tensor.values.axis(0), width = tensor.values.axis(1);
  std::vector<Stored> rows(std::min(kTile, width) * features);
  for (std::size_t d = 0; d < width; d += kTile) {
    const std::size_t count = std::min(kTile, width - d);
    parallel_for((features + kTile - 1) / kTile, [&](std::size_t t) {
      const std::size_t f = t * kTile, tall = std::min(kTile, features - f);
      std::array<float, kTile * kTile> tile;
      for (std::size_t i = 0; i < tall; ++i)
        for (std::size_t j = 0; j < count; ++j)
          tile[j * kTile + i] = tensor.values.data()[(f + i) * width + d + j];
      for (std::size_t j = 0; j < count; ++j)
        for (std::size_t i = 0; i < tall; ++i)
          rows[j * features + f + i] = stored_as(tile[j * kTile + i] / tensor.divisor, Stored{});
    });
    file.write(std::as_bytes(std::span(rows).first(count * features)));
  }
}

template <typename Stored>
StreamedTensor streamed_as(const SaeExport::Named& tensor, DType dtype) {
  StreamedTensor out{tensor.name, std::string(safetensors_word(dtype)), {}, {}};
  for (std::size_t i = 0; i < tensor.values.shape().rank(); ++i)
    out.shape.push_back(tensor.values.axis(i));
  if (tensor.transposed) std::ranges::reverse(out.shape);
  out.write = [tensor](FileWriter& file) {
    tensor.transposed ? write_transposed<Stored>(tensor, file) : write_values<Stored>(tensor, file);
  };
  return out;
}

}  // namespace

std::vector<WrittenFile> write_saelens_folder(const fs::path& folder, const SaeExport& exported,
                                              DType dtype,
                                              const std::map<std::string, std::string>& metadata) {
  if (dtype != DType::f32 && dtype != DType::bf16)
    throw ConfigError("SAELens export dtype is {}; expected fp32 or bf16.", name(dtype));
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

  std::vector<StreamedTensor> streams;
  for (const SaeExport::Named& tensor : exported.tensors)
    streams.push_back(dtype == DType::f32 ? streamed_as<float>(tensor, dtype)
                                          : streamed_as<BFloat16>(tensor, dtype));
  FileWriter config(folder / "cfg.json", FileWriter::Digest::sha256);
  config.write(cfg.dump(1) + "\n");
  std::vector<WrittenFile> written;
  written.push_back(config.close());
  written.push_back(stream_safetensors(folder / "sae_weights.safetensors", streams, {},
                                       FileWriter::Digest::sha256));
  return written;
}

}  // namespace refract
