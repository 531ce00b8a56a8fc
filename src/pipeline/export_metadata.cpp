#include "pipeline/export_metadata.hpp"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "refract/base/build_info.hpp"

namespace refract {
namespace {

using Json = nlohmann::ordered_json;

void add_model(Json& metadata, const PublicModel& model) {
  metadata["model_name"] = model.name;
  metadata["model_class_name"] = "HookedTransformer";
  // As the model was run: its residual stream is neither centred nor scaled.
  metadata["model_from_pretrained_kwargs"] = {{"fold_ln", false},
                                              {"center_writing_weights", false},
                                              {"center_unembed", false},
                                              {"fold_value_biases", false}};
}

void add_place(Json& metadata, const std::string& suffix, const std::vector<std::string>& hooks,
               const std::string& text, const std::string& family) {
  metadata["hook_name" + suffix] = text;
  metadata["hook_head_index" + suffix] = nullptr;
  const std::string module =
      hooks.size() == 1 ? hugging_face_module(family, parse_hook_point(hooks.front())) : "";
  if (!module.empty()) metadata["hf_hook_name" + suffix] = module;
}

// prepend_bos: a tool that is told so puts BOS before every piece of text it cuts, which
// document_start does not. Separators and concatenation as SAELens would come nearest to these
// contexts.
void add_contexts(Json& metadata, const TokensConfig& tokens) {
  const bool alone = tokens.packing == "document";
  metadata["context_size"] = tokens.context;
  metadata["prepend_bos"] = tokens.bos == "each_context";
  metadata["sequence_separator_token"] = alone || tokens.bos == "none" ? Json() : Json("bos");
  metadata["disable_concat_sequences"] = alone;
  metadata["seqpos_slice"] = Json::array({nullptr});
  metadata["exclude_special_tokens"] = true;
  metadata["refract_packing"] = tokens.packing;
  metadata["refract_bos"] = tokens.bos;
}

void add_training(Json& metadata, const SaeExport& exported) {
  metadata["training_architecture"] =
      exported.trained_as.empty() ? exported.architecture : exported.trained_as;
  Json& details = metadata["training_architecture_details"] = Json::object();
  for (const auto& [key, text] : exported.training) details[key] = Json::parse(text);
}

// On held-out rows, and of the trainer's counters.
void add_measured(Json& metadata, const std::string& metrics_line) {
  const Json line = Json::parse(metrics_line, nullptr, false);
  if (!line.is_object()) return;
  if (const auto l0 = line.find("l0"); l0 != line.end()) metadata["l0"] = *l0;
  if (const auto train = line.find("train"); train != line.end() && train->contains("dead"))
    metadata["num_dead_features"] = train->at("dead");
}

}  // namespace

std::string dataset_name(const std::string& from) {
  const std::string place = from.substr(from.find(':') + 1);
  if (from.starts_with("file:")) return std::filesystem::path(place).filename().string();
  return place.substr(0, place.find('@'));
}

std::map<std::string, std::string> export_metadata(const CheckpointedRun& run,
                                                   const TrainedSae& sae, const SaeExport& exported,
                                                   const std::string& metrics_line) {
  Json metadata;
  add_model(metadata, run.model);
  add_place(metadata, "", sae.config.hooks, hook_text(sae.config), run.model.family);
  if (is_transcoder(sae.config))
    add_place(metadata, "_out", {sae.config.target_hook}, sae.config.target_hook, run.model.family);
  add_contexts(metadata, run.config.tokens);
  metadata["dataset_path"] = dataset_name(run.config.source.from);
  add_training(metadata, exported);
  add_measured(metadata, metrics_line);
  metadata["sae_lens_training_version"] = nullptr;  // else SAELens says that it was its own
  metadata["refract_version"] = kVersion;
  metadata["refract_weights_digest"] = weights_digest(sae);
  std::map<std::string, std::string> texts;
  for (const auto& [key, value] : metadata.items()) texts[key] = value.dump();
  return texts;
}

}  // namespace refract
