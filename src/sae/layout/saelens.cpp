// SAELens' own: cfg.json and sae_weights.safetensors, as the run has them, in either dtype.
#include <nlohmann/json.hpp>

#include "sae/layout_table.hpp"

namespace refract::saelens_layout {

std::string folder(const ExportedSae&) { return ""; }

std::vector<WrittenFile> write(const fs::path& folder, const ExportedSae& sae, DType dtype) {
  auto cfg = nlohmann::ordered_json::parse(sae.cfg);
  cfg["dtype"] = dtype == DType::f32 ? "float32" : "bfloat16";
  std::vector<StoredTensor> tensors;
  for (const auto& [name, values] : sae.tensors) tensors.push_back(f32_tensor(name, values));
  return {write_unsynced(folder / "cfg.json", cfg.dump(1) + "\n"),
          write_tensors(folder / "sae_weights.safetensors", tensors, dtype)};
}

}  // namespace refract::saelens_layout
