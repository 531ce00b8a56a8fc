#include "refract/sae/saelens.hpp"

#include <nlohmann/json.hpp>

#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
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

std::vector<std::size_t> shape_of(const Tensor<float>& tensor) {
  std::vector<std::size_t> shape;
  for (std::size_t i = 0; i < tensor.shape().rank(); ++i) shape.push_back(tensor.axis(i));
  return shape;
}

}  // namespace

void write_saelens_folder(const std::filesystem::path& folder, const SaeExport& exported,
                          DType dtype, const std::map<std::string, std::string>& metadata) {
  if (dtype != DType::f32 && dtype != DType::bf16)
    throw ConfigError("SAELens export dtype is {}; expected fp32 or bf16.", name(dtype));
  Json cfg;
  cfg["architecture"] = exported.architecture;
  cfg["d_in"] = exported.d_in;
  cfg["d_sae"] = exported.d_sae;
  cfg["dtype"] = dtype == DType::f32 ? "float32" : "bfloat16";
  cfg["device"] = "cpu";
  cfg["apply_b_dec_to_input"] = true;
  cfg["normalize_activations"] = "none";
  cfg["reshape_activations"] = "none";
  for (const auto& [key, text] : exported.json_values) cfg[key] = parse(key, text);
  cfg["metadata"]["sae_lens_version"] = kSaeLensVersion;
  for (const auto& [key, text] : metadata) cfg["metadata"][key] = parse(key, text);

  std::vector<std::vector<BFloat16>> rounded;
  rounded.reserve(exported.tensors.size());
  std::vector<StoredTensor> stored;
  for (const auto& [tensor_name, values] : exported.tensors) {
    if (dtype == DType::f32) {
      stored.push_back(stored_tensor<float>(tensor_name, dtype, shape_of(values), values.span()));
    } else {
      to_bf16(values.span(), rounded.emplace_back(values.size()));
      stored.push_back(
          stored_tensor<BFloat16>(tensor_name, dtype, shape_of(values), rounded.back()));
    }
  }
  write_safetensors(folder / "sae_weights.safetensors", stored);
  write_file(folder / "cfg.json", cfg.dump(1) + "\n");
}

}  // namespace refract
