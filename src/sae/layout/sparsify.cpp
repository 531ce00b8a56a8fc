// EleutherAI's sparsify: <module of the base model>/{cfg.json, sae.safetensors}. It takes ReLU
// before the top k, which keeps the same values.
#include <nlohmann/json.hpp>

#include "sae/layout_table.hpp"

namespace refract::sparsify_layout {

// transformer.h.4 of the causal model is h.4 of the base model. What no module puts out has
// refract's name.
std::string folder(const ExportedSae& sae) {
  const std::size_t dot = sae.hf_hook_name.find('.');
  return dot == std::string::npos ? sae.hook_name : sae.hf_hook_name.substr(dot + 1);
}

std::vector<WrittenFile> write(const fs::path& folder, const ExportedSae& sae, DType dtype) {
  using Json = nlohmann::ordered_json;
  const Json cfg{{"activation", "topk"},
                 {"expansion_factor", sae.d_sae / sae.d_in},  // num_latents is what counts
                 {"normalize_decoder", true},
                 {"num_latents", sae.d_sae},
                 {"k", sae.k},
                 {"multi_topk", false},
                 {"skip_connection", false},
                 {"transcode", false},
                 {"d_in", sae.d_in}};
  // Its loader complains of keys that it does not know, so where it is from stands elsewhere.
  const std::string metadata = Json::parse(sae.cfg).value("metadata", Json::object()).dump();
  const Tensor<float> W_enc = transposed(sae.at("W_enc"));
  const StoredTensor tensors[] = {
      f32_tensor("encoder.weight", W_enc), f32_tensor("encoder.bias", sae.at("b_enc")),
      f32_tensor("W_dec", sae.at("W_dec")), f32_tensor("b_dec", sae.at("b_dec"))};
  return {write_unsynced(folder / "cfg.json", cfg.dump(1) + "\n"),
          write_tensors(folder / "sae.safetensors", tensors, dtype,
                        {{"format", "pt"}, {"metadata", metadata}})};
}

}  // namespace refract::sparsify_layout
