#include "refract/sae/layout.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/parallel.hpp"
#include "sae/layout_table.hpp"

namespace refract {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kTransposedTile = 64;

const std::array<SaeLayout, 3> kLayouts{{
    {"saelens", {}, true, saelens_layout::folder, saelens_layout::write},
    {"sparsify", {"topk"}, true, sparsify_layout::folder, sparsify_layout::write},
    {"dictionary_learning",
     {"topk", "batchtopk", "relu", "jumprelu", "gated", "matryoshka"},
     false,
     dictionary_learning_layout::folder,
     dictionary_learning_layout::write},
}};

bool holds(const SaeLayout& layout, const ExportedSae& sae) {
  return layout.kinds.empty() || std::ranges::find(layout.kinds, sae.kind) != layout.kinds.end();
}

// BatchTopK and Matryoshka are JumpReLUs once they are trained; only how they were tells them.
std::string kind_of(const std::string& architecture, const std::string& trained) {
  if (architecture == "standard") return "relu";
  if (architecture != "jumprelu") return architecture;
  if (trained == "matryoshka_batchtopk") return "matryoshka";
  return trained == "batchtopk" ? trained : architecture;
}

// The facts of cfg.json; json exceptions where they are missing or of another type.
ExportedSae facts_from(std::string text) {
  const Json cfg = Json::parse(text);
  const Json metadata = cfg.value("metadata", Json::object());
  const Json details = metadata.value("training_architecture_details", Json::object());
  ExportedSae sae;
  sae.kind = kind_of(cfg.at("architecture"), metadata.value("training_architecture", ""));
  sae.d_in = cfg.at("d_in");
  sae.d_sae = cfg.at("d_sae");
  sae.k = cfg.contains("k") ? cfg.at("k").get<std::size_t>() : details.value("k", std::size_t{0});
  sae.context = metadata.value("context_size", std::size_t{0});
  sae.centred = cfg.value("apply_b_dec_to_input", true);
  sae.widths = details.value("matryoshka_widths", std::vector<std::size_t>{});
  sae.model_name = metadata.value("model_name", "");
  sae.hook_name = metadata.value("hook_name", "");
  sae.hf_hook_name = metadata.value("hf_hook_name", "");
  sae.cfg = std::move(text);
  return sae;
}

Tensor<float> read_tensor(const StoredTensor& stored) {
  const auto& axes = stored.shape;
  Tensor<float> values(axes.size() == 2 ? Shape{axes[0], axes[1]} : Shape{element_count(stored)});
  read_f32(stored, values.span());
  return values;
}

}  // namespace

const Tensor<float>& ExportedSae::at(std::string_view tensor) const {
  const auto found = tensors.find(tensor);
  if (found == tensors.end())
    throw DataError("'{}' has no tensor {}. Export the SAE again.", weights.string(), tensor);
  return found->second;
}

ExportedSae read_exported_sae(const fs::path& folder) {
  const fs::path cfg = folder / "cfg.json";
  ExportedSae sae;
  std::string text = read_file(cfg);
  try {
    sae = facts_from(std::move(text));
  } catch (const Json::exception& error) {
    throw DataError("'{}' is not the cfg.json of an SAE: {}", cfg.string(), error.what());
  }
  const SafetensorsFile file(folder / "sae_weights.safetensors");
  sae.weights = file.path();
  (void)file.at("W_enc", {sae.d_in, sae.d_sae});
  (void)file.at("b_dec");
  for (const StoredTensor& stored : file.tensors()) {
    const bool of_features = stored.name != "W_enc" && stored.name != "b_dec";
    const std::size_t axes = stored.name == "W_enc" || stored.name == "W_dec" ? 2 : 1;
    if (stored.shape.size() != axes || (of_features && stored.shape.front() != sae.d_sae))
      throw DataError("'{}': {} has the shape [{}], which does not fit d_sae {}.",
                      sae.weights.string(), stored.name, fmt::join(stored.shape, ", "), sae.d_sae);
    sae.tensors.emplace(stored.name, read_tensor(stored));
  }
  return sae;
}

std::span<const SaeLayout> sae_layouts() { return kLayouts; }

const SaeLayout& layout_for(std::string_view word, const ExportedSae& sae, DType dtype) {
  std::vector<std::string_view> known, holding;
  const SaeLayout* named = nullptr;
  for (const SaeLayout& layout : kLayouts) {
    known.push_back(layout.word);
    if (holds(layout, sae)) holding.push_back(layout.word);
    if (layout.word == word) named = &layout;
  }
  if (!named)
    throw ConfigError("--format is '{}'; expected one of {}", word, fmt::join(known, ", "));
  if (!holds(*named, sae))
    throw ConfigError("--format {} holds {}, and this SAE is {}; what holds it: {}", word,
                      fmt::join(named->kinds, ", "), sae.kind, fmt::join(holding, ", "));
  if (dtype != DType::f32 && !(dtype == DType::bf16 && named->has_bf16))
    throw ConfigError("--dtype is '{}'; --format {} has {}", name(dtype), word,
                      named->has_bf16 ? "fp32, bf16" : "fp32 alone");
  return *named;
}

Tensor<float> transposed(const Tensor<float>& values) {
  const std::size_t rows = values.axis(0), columns = values.axis(1);
  Tensor<float> out(Shape{columns, rows});
  parallel_for((columns + kTransposedTile - 1) / kTransposedTile, [&](std::size_t tile) {
    const std::size_t end = std::min(columns, (tile + 1) * kTransposedTile);
    for (std::size_t first = 0; first < rows; first += kTransposedTile)
      for (std::size_t c = tile * kTransposedTile; c < end; ++c)
        for (std::size_t r = first; r < std::min(rows, first + kTransposedTile); ++r)
          out.data()[c * rows + r] = values.data()[r * columns + c];
  });
  return out;
}

StoredTensor f32_tensor(std::string name, const Tensor<float>& values) {
  std::vector<std::size_t> shape;
  for (std::size_t i = 0; i < values.shape().rank(); ++i) shape.push_back(values.axis(i));
  return stored_tensor<float>(std::move(name), DType::f32, std::move(shape), values.span());
}

WrittenFile write_tensors(const fs::path& path, std::span<const StoredTensor> tensors, DType dtype,
                          const std::map<std::string, std::string>& metadata) {
  std::vector<TensorEntry> entries;
  for (const StoredTensor& tensor : tensors)
    entries.push_back({tensor.name, std::string(safetensors_word(dtype)), tensor.shape});
  SafetensorsWriter file(path, SafetensorsLayout(entries, metadata));
  for (const StoredTensor& tensor : tensors) {
    if (dtype == DType::f32) {
      file.write(tensor.name, 0, tensor.bytes);
      continue;
    }
    const std::vector<float> values = read_f32(tensor);
    std::vector<BFloat16> narrow(values.size());
    to_bf16(values, narrow);
    file.write(tensor.name, 0, std::as_bytes(std::span(narrow)));
  }
  return file.close();
}

}  // namespace refract
