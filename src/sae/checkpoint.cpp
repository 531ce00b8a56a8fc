#include "refract/sae/checkpoint.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "refract/base/build_info.hpp"
#include "refract/base/digest.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/store/artifact.hpp"
#include "refract/store/safetensors.hpp"

namespace refract {
namespace {

using Json = nlohmann::json;  // keys sorted: bytes are a function of the content

constexpr const char* kSchema = "refract.trainer_state";
constexpr const char* kWeightsFile = "trainer_state.safetensors";
constexpr const char* kStateFile = "state.json";

std::vector<std::size_t> shape_of(const TensorView<float>& view) {
  std::vector<std::size_t> shape;
  for (std::size_t i = 0; i < view.shape().rank(); ++i) shape.push_back(view.axis(i));
  return shape;
}

// Every fp32 tensor of the state with the name it is stored under.
std::vector<std::pair<std::string, TensorView<float>>> stored_names(const SaeState& state) {
  std::vector<std::pair<std::string, TensorView<float>>> all;
  const auto add = [&](const char* prefix, const SaeParameters& parameters) {
    for (const auto& [tensor_name, view] : named_tensors(parameters))
      all.emplace_back(prefix + tensor_name, view);
  };
  add("", state.parameters);
  add("m.", state.m);
  add("v.", state.v);
  return all;
}

Json read_state_json(const fs::path& folder) {
  const fs::path path = folder / kStateFile;
  Json json = Json::parse(read_file(path), nullptr, false);
  if (json.is_discarded() || !json.is_object())
    throw DataError(
        "{} is not JSON: the checkpoint is damaged. Delete this folder to resume from the one "
        "before.",
        path.string());
  if (json.value("schema", "") != kSchema || json.value("version", 0) != kSchemaVersion)
    throw DataError(
        "{} has schema \"{}\" version {}; expected \"{}\" version {}. Use the refract that wrote "
        "it.",
        path.string(), json.value("schema", ""), json.value("version", 0), kSchema, kSchemaVersion);
  return json;
}

template <typename T>
T field(const Json& json, const char* key, const fs::path& folder) {
  try {
    return json.at(key).get<T>();
  } catch (const Json::exception&) {
    throw DataError(
        "{} has no valid field \"{}\": the checkpoint is damaged. Delete this folder to resume "
        "from the one before.",
        (folder / kStateFile).string(), key);
  }
}

TrainerMetadata metadata_of(const Json& json, const fs::path& folder) {
  TrainerMetadata metadata;
  metadata.config_digest = field<std::string>(json, "config_digest", folder);
  metadata.weights_digest = field<std::string>(json, "weights_digest", folder);
  metadata.parents = field<std::map<std::string, std::string>>(json, "parents", folder);
  const Json values = field<Json>(json, "values", folder);
  for (const auto& [key, value] : values.items()) metadata.values[key] = value.dump();
  return metadata;
}

}  // namespace

std::string weights_digest(const SaeParameters& parameters) {
  Sha256 digest;
  for (const auto& [tensor_name, view] : named_tensors(parameters)) {
    digest.add(tensor_name);
    for (const std::size_t axis : shape_of(view)) digest.add(" " + std::to_string(axis));
    digest.add("\n");
    digest.add(std::as_bytes(view.span()));
  }
  return digest.hex();
}

void write_trainer_state(const fs::path& folder, const SaeState& state, TrainerMetadata& metadata) {
  metadata.weights_digest = weights_digest(state.parameters);
  std::vector<StoredTensor> tensors;
  for (const auto& [tensor_name, view] : stored_names(state))
    tensors.push_back(stored_tensor<float>(tensor_name, DType::f32, shape_of(view), view.span()));
  tensors.push_back(stored_tensor<std::uint64_t>("age", DType::u64, {state.age.size()}, state.age));
  write_safetensors(folder / kWeightsFile, tensors);

  Json values = Json::object();
  for (const auto& [key, text] : metadata.values) {
    values[key] = Json::parse(text, nullptr, false);
    REFRACT_ASSERT(!values[key].is_discarded(), "{} is not JSON: {}", key, text);
  }
  const Json json{{"schema", kSchema},
                  {"version", kSchemaVersion},
                  {"software_version", std::string(refract::kVersion)},
                  {"step", state.step},
                  {"scalars", state.scalars},
                  {"config_digest", metadata.config_digest},
                  {"weights_digest", metadata.weights_digest},
                  {"parents", metadata.parents},
                  {"values", values}};
  write_file(folder / kStateFile, json.dump(1) + "\n");
}

TrainerMetadata read_trainer_metadata(const fs::path& folder) {
  return metadata_of(read_state_json(folder), folder);
}

TrainerCheckpoint read_trainer_state(const fs::path& folder, const SaeConfig& config,
                                     std::size_t d_in, const std::string& config_digest) {
  const Json json = read_state_json(folder);
  TrainerCheckpoint out;
  out.metadata = metadata_of(json, folder);
  if (out.metadata.config_digest != config_digest)
    throw DataError(
        "{}: config_digest is {}, expected {}: the checkpoint was trained with other settings of "
        "SAE \"{}\". Restore those settings or choose another run directory.",
        (folder / kStateFile).string(), out.metadata.config_digest, config_digest, config.name);
  const SafetensorsFile file(folder / kWeightsFile);
  const bool threshold = file.find("threshold") != nullptr;
  out.state.parameters = make_parameters(config.d_sae, d_in, threshold);
  out.state.parameters.non_negative_decoder = config.non_negative_decoder;
  out.state.m = make_parameters(config.d_sae, d_in, threshold);
  out.state.v = make_parameters(config.d_sae, d_in, threshold);
  for (const auto& [tensor_name, view] : stored_names(out.state))
    read_f32(file.at(tensor_name, shape_of(view)), view.span());
  out.state.age = read_u64(file.at("age", {config.d_sae}));
  out.state.step = field<std::uint64_t>(json, "step", folder);
  out.state.scalars = field<std::map<std::string, double>>(json, "scalars", folder);
  const std::string found = weights_digest(out.state.parameters);
  if (found != out.metadata.weights_digest)
    throw DataError(
        "{}: weights digest is {}, but state.json says {}: the checkpoint is damaged. Delete this "
        "folder to resume from the one before.",
        (folder / kWeightsFile).string(), found, out.metadata.weights_digest);
  return out;
}

}  // namespace refract
