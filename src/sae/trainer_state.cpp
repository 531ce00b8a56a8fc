#include "refract/sae/trainer_state.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include "refract/base/build_info.hpp"
#include "refract/base/digest.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/parallel.hpp"
#include "refract/ops/feature_gradients.hpp"
#include "refract/store/artifact.hpp"
#include "refract/store/safetensors.hpp"

namespace refract {
namespace {

using Json = nlohmann::json;  // keys sorted: bytes are a function of the content

constexpr const char* kSchema = "refract.trainer_state";
constexpr const char* kWeightsFile = "trainer_state.safetensors";
constexpr const char* kStateFile = "state.json";
const std::string kNoDigest(64, '0');

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

// A line naming the tensor and one for each of its panels (trainer_state.hpp).
struct NamedPanels {
  std::string name, lines;
};

std::vector<NamedPanels> digest_panels(const std::vector<StoredTensor>& tensors) {
  struct Panel {
    std::span<const std::byte> bytes;
    std::string digest;
  };
  std::vector<Panel> panels;
  std::vector<std::size_t> first;
  for (const StoredTensor& tensor : tensors) {
    first.push_back(panels.size());
    const std::size_t features = tensor.shape.at(0);
    const std::size_t panel = has_feature_axis(tensor.name) && features != 0
                                  ? tensor.bytes.size() / features * kPanelFeatures
                                  : tensor.bytes.size();
    for (std::size_t at = 0; at < tensor.bytes.size(); at += panel)
      panels.push_back({tensor.bytes.subspan(at, std::min(panel, tensor.bytes.size() - at)), {}});
  }
  first.push_back(panels.size());
  parallel_for(panels.size(), [&](std::size_t p) {
    Sha256 digest;
    digest.add(panels[p].bytes);
    panels[p].digest = digest.hex();
  });
  std::vector<NamedPanels> out;
  for (std::size_t t = 0; t < tensors.size(); ++t) {
    NamedPanels& made = out.emplace_back();
    made.name = tensors[t].name;
    made.lines = fmt::format("{} {} {}\n", tensors[t].name, tensors[t].dtype,
                             fmt::join(tensors[t].shape, " "));
    for (std::size_t p = first[t]; p < first[t + 1]; ++p) made.lines += panels[p].digest + "\n";
  }
  return out;
}

// Of the tensors called `names`, in that order.
std::string digest_of(const std::vector<NamedPanels>& panels,
                      const std::vector<std::string>& names) {
  Sha256 digest;
  for (const std::string& name : names) {
    const auto found = std::ranges::find(panels, name, &NamedPanels::name);
    REFRACT_ASSERT(found != panels.end(), "no tensor {}", name);
    digest.add(found->lines);
  }
  return digest.hex();
}

std::string tensors_digest(const std::vector<NamedPanels>& panels) {
  std::vector<std::string> names;
  for (const NamedPanels& tensor : panels) names.push_back(tensor.name);
  std::ranges::sort(names);
  return digest_of(panels, names);
}

std::string weights_digest(const std::vector<NamedPanels>& panels,
                           const SaeParameters& parameters) {
  std::vector<std::string> names;
  for (const auto& [tensor_name, view] : named_tensors(parameters)) names.push_back(tensor_name);
  return digest_of(panels, names);
}

// Of state.json's text, which holds `stored` as its state_digest; empty when it does not.
std::string state_digest(std::string text, const std::string& stored) {
  const std::size_t at = text.find(stored, text.find("\"state_digest\""));
  if (stored.size() != kNoDigest.size() || at == std::string::npos) return "";
  return sha256_hex(text.replace(at, stored.size(), kNoDigest));
}

std::vector<StoredTensor> stored_tensors(const SaeState& state) {
  std::vector<StoredTensor> tensors;
  for (const auto& [tensor_name, view] : stored_names(state))
    tensors.push_back(stored_tensor<float>(tensor_name, DType::f32, shape_of(view), view.span()));
  tensors.push_back(stored_tensor<std::uint64_t>("age", DType::u64, {state.age.size()}, state.age.span()));
  return tensors;
}

// What is read from a checkpoint's folder was written by us: a file that is absent or cannot be
// parsed is damaged.
template <typename Read>
auto read_ours(Read&& read) {
  try {
    return read();
  } catch (const Damaged&) {
    throw;
  } catch (const DataError& error) {
    throw Damaged(std::string(error.what()));
  }
}

template <typename T>
T field(const Json& json, const char* key, const fs::path& path) {
  const auto found = json.find(key);
  bool fits = found != json.end();
  if constexpr (std::is_same_v<T, std::uint64_t>) fits = fits && found->is_number_unsigned();
  try {
    if (fits) return found->get<T>();
  } catch (const Json::exception&) {  // another type: said below
  }
  throw Damaged("{}: \"{}\" is {}, not what was written there", path.string(), key,
                found == json.end() ? "missing" : found->dump());
}

Json read_state_json(const fs::path& folder) {
  const fs::path path = folder / kStateFile;
  const std::string text = read_ours([&] { return read_file(path); });
  Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) throw Damaged("{} is not a JSON object", path.string());
  if (field<std::string>(json, "schema", path) != kSchema)
    throw Damaged("{}: \"schema\" is {}, expected \"{}\"", path.string(), json["schema"].dump(),
                  kSchema);
  if (const auto version = field<std::uint64_t>(json, "version", path); version != kSchemaVersion)
    throw DataError(
        "{} has version {} of its schema; this refract reads {}. Use the refract that wrote it.",
        path.string(), version, kSchemaVersion);
  const auto stored = field<std::string>(json, "state_digest", path);
  if (const std::string found = state_digest(text, stored); found != stored)
    throw Damaged("{}: its content has the digest {}, but \"state_digest\" is {}", path.string(),
                  found, stored);
  return json;
}

TrainerMetadata metadata_of(const Json& json, const fs::path& folder) {
  const fs::path path = folder / kStateFile;
  TrainerMetadata metadata;
  metadata.config_digest = field<std::string>(json, "config_digest", path);
  metadata.weights_digest = field<std::string>(json, "weights_digest", path);
  metadata.state_digest = field<std::string>(json, "state_digest", path);
  metadata.parents = field<std::map<std::string, std::string>>(json, "parents", path);
  const Json values = field<Json>(json, "values", path);
  for (const auto& [key, value] : values.items()) metadata.values[key] = value.dump();
  return metadata;
}

// Into the tensors of `state`, which have the shapes expected.
void read_tensors(const fs::path& path, SaeState& state, std::size_t d_sae) {
  const SafetensorsFile file(path);
  for (const auto& [tensor_name, view] : stored_names(state))
    read_f32(file.at(tensor_name, shape_of(view)), view.span());
  std::ranges::copy(read_u64(file.at("age", {d_sae})), state.age.data());
  if (file.tensors().size() != stored_names(state).size() + 1)
    throw Damaged("{}: {} tensors, expected {}", path.string(), file.tensors().size(),
                  stored_names(state).size() + 1);
}

}  // namespace

std::string weights_digest(const SaeParameters& parameters) {
  std::vector<StoredTensor> tensors;
  for (const auto& [tensor_name, view] : named_tensors(parameters))
    tensors.push_back(stored_tensor<float>(tensor_name, DType::f32, shape_of(view), view.span()));
  return weights_digest(digest_panels(tensors), parameters);
}

std::vector<WrittenFile> write_trainer_state(const fs::path& folder, const SaeState& state,
                                             TrainerMetadata& metadata) {
  const std::vector<StoredTensor> tensors = stored_tensors(state);
  const std::vector<NamedPanels> panels = digest_panels(tensors);
  metadata.weights_digest = weights_digest(panels, state.parameters);
  std::vector<StreamedTensor> streams;
  for (const StoredTensor& tensor : tensors) streams.push_back(streamed(tensor));
  std::vector<WrittenFile> written{stream_safetensors(folder / kWeightsFile, streams)};

  Json values = Json::object();
  for (const auto& [key, text] : metadata.values) {
    values[key] = Json::parse(text, nullptr, false);
    REFRACT_ASSERT(!values[key].is_discarded(), "{} is not JSON: {}", key, text);
  }
  Json json{{"schema", kSchema},
            {"version", kSchemaVersion},
            {"software_version", std::string(refract::kVersion)},
            {"step", state.step},
            {"trained_rows", state.trained_rows},
            {"scalars", state.scalars},
            {"config_digest", metadata.config_digest},
            {"weights_digest", metadata.weights_digest},
            {"tensors_digest", tensors_digest(panels)},
            {"parents", metadata.parents},
            {"values", values}};
  json["state_digest"] = kNoDigest;
  std::string text = json.dump(1) + "\n";
  metadata.state_digest = sha256_hex(text);
  text.replace(text.find(kNoDigest, text.find("\"state_digest\"")), kNoDigest.size(),
               metadata.state_digest);
  written.push_back(write_unsynced(folder / kStateFile, text));
  return written;
}

void verify_trainer_state(const fs::path& folder) {
  const Json json = read_state_json(folder);
  const fs::path weights = folder / kWeightsFile;
  std::error_code ignored;
  if (!fs::exists(weights, ignored)) return;  // removed, as old ones are; state.json stays
  const auto stored = field<std::string>(json, "tensors_digest", folder / kStateFile);
  const std::string found =
      read_ours([&] { return tensors_digest(digest_panels(SafetensorsFile(weights).tensors())); });
  if (found != stored)
    throw Damaged("{}: its tensors have the digest {}, but state.json says {}", weights.string(),
                  found, stored);
}

TrainerMetadata read_trainer_metadata(const fs::path& folder) {
  return metadata_of(read_state_json(folder), folder);
}

StoredTrainerState read_trainer_state(const fs::path& folder, const SaeConfig& config,
                                      const SaeWidth& width, const std::string& config_digest) {
  const Json json = read_state_json(folder);
  const fs::path json_path = folder / kStateFile, weights_path = folder / kWeightsFile;
  StoredTrainerState out;
  out.metadata = metadata_of(json, folder);
  if (out.metadata.config_digest != config_digest)
    throw DataError(
        "{}: config_digest is {}, expected {}: the checkpoint was trained with other settings of "
        "SAE \"{}\". Restore those settings or choose another run directory.",
        json_path.string(), out.metadata.config_digest, config_digest, config.name);
  const bool threshold =
      read_ours([&] { return SafetensorsFile(weights_path).find("threshold") != nullptr; });
  SaeState& state = out.state;
  const SaeShape shape{config.d_sae, width.d_in, width.d_out, threshold};
  state.parameters = make_parameters(shape);
  state.parameters.non_negative_decoder = config.non_negative_decoder;
  state.m = make_parameters(shape);
  state.v = make_parameters(shape);
  state.age = Tensor<std::uint64_t>(Shape{config.d_sae});
  read_ours([&] { read_tensors(weights_path, state, config.d_sae); });
  state.step = field<std::uint64_t>(json, "step", json_path);
  state.trained_rows = field<std::uint64_t>(json, "trained_rows", json_path);
  state.scalars = field<std::map<std::string, double>>(json, "scalars", json_path);
  const std::vector<NamedPanels> panels = digest_panels(stored_tensors(state));
  const auto stored = field<std::string>(json, "tensors_digest", json_path);
  if (const std::string found = tensors_digest(panels); found != stored)
    throw Damaged("{}: its tensors have the digest {}, but state.json says {}",
                  weights_path.string(), found, stored);
  if (const std::string found = weights_digest(panels, state.parameters);
      found != out.metadata.weights_digest)
    throw Damaged("{}: weights digest is {}, but state.json says {}", weights_path.string(), found,
                  out.metadata.weights_digest);
  return out;
}

}  // namespace refract
