#include "refract/sae/trainer_state.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
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
#include "sae/host_rows.hpp"

namespace refract {
namespace {

using Json = nlohmann::json;  // keys sorted: bytes are a function of the content

constexpr const char* kSchema = "refract.trainer_state";
constexpr const char* kWeightsFile = "trainer_state.safetensors";
constexpr const char* kStateFile = "state.json";
const std::string kNoDigest(64, '0');
constexpr std::size_t kCopyBytes = std::size_t{1} << 20;

std::vector<std::size_t> shape_of(const TensorView<float>& view) {
  std::vector<std::size_t> shape;
  for (std::size_t i = 0; i < view.shape().rank(); ++i) shape.push_back(view.axis(i));
  return shape;
}

// Every tensor of trainer_state.safetensors, and how its panels are counted through all of them.
struct FileTensor {
  TensorEntry entry;
  std::size_t first_panel = 0, panels = 0;
  std::size_t panel_rows = 0;  // of its first axis
};
std::vector<FileTensor> file_tensors(const SaeShape& whole) {
  std::vector<FileTensor> all;
  const auto add = [&](std::string name, const char* dtype, std::vector<std::size_t> shape) {
    const std::size_t rows = shape.at(0), panel = has_feature_axis(name)
                                                      ? kPanelFeatures
                                                      : std::max<std::size_t>(1, rows);
    all.push_back({{std::move(name), dtype, std::move(shape)},
                   all.empty() ? 0 : all.back().first_panel + all.back().panels,
                   (rows + panel - 1) / panel,
                   panel});
  };
  for (const char* prefix : {"", "m.", "v.", "ema."}) {
    const std::string of = prefix;
    if (of == "ema." && !whole.mean) continue;
    for (const std::string& tensor : tensor_names(whole)) {
      std::vector<std::size_t> shape{whole.d_sae};
      if (tensor == "b_dec") shape = {whole.d_out};
      if (tensor == "W_enc") shape.push_back(whole.d_in);
      if (tensor == "W_dec") shape.push_back(whole.d_out);
      add(of + tensor, "F32", shape);
    }
  }
  add("age", "U64", {whole.d_sae});
  return all;
}

// take(tensor of the file, what `part` has of it, the feature that it begins with), in the order of
// file_tensors.
template <typename Take>
void for_tensors(const std::vector<FileTensor>& tensors, const SaeState& part, Take&& take) {
  auto tensor = tensors.begin();
  for (const SaeParameters* some :
       {&part.parameters, &part.m, &part.v, part.mean ? &*part.mean : nullptr}) {
    if (!some) continue;
    for (const auto& [tensor_name, view] : named_tensors(*some)) {
      REFRACT_ASSERT(tensor->entry.name.ends_with(tensor_name), "{} for {}", tensor_name,
                     tensor->entry.name);
      take(*tensor, view, some->first_feature);
      ++tensor;
    }
  }
  take(*tensor, part.age.view(), part.parameters.first_feature);
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

// SHA-256 of each panel of `rows`, which begin with row `first` of the tensor.
void add_digests(const FileTensor& tensor, std::size_t first, std::size_t rows,
                 std::span<const std::byte> bytes, std::vector<PanelDigest>& digests) {
  const std::size_t count = (rows + tensor.panel_rows - 1) / tensor.panel_rows,
                    panel_bytes = bytes.size() / rows * tensor.panel_rows, at = digests.size();
  digests.resize(at + count);
  parallel_for(count, [&](std::size_t p) {
    Sha256 digest;
    digest.add(
        bytes.subspan(p * panel_bytes, std::min(panel_bytes, bytes.size() - p * panel_bytes)));
    digests[at + p].panel = tensor.first_panel + first / tensor.panel_rows + p;
    std::ranges::copy(digest.hex(), digests[at + p].sha256.begin());
  });
}

// Of all owners' panels; nothing where one is missing or two differ.
std::optional<std::vector<NamedPanels>> merged(const SaeShape& whole,
                                               std::span<const PanelDigest> panels) {
  const std::vector<FileTensor> tensors = file_tensors(whole);
  std::vector<const PanelDigest*> found(tensors.back().first_panel + tensors.back().panels);
  for (const PanelDigest& panel : panels) {
    const PanelDigest*& place = found.at(panel.panel);
    if (place && place->sha256 != panel.sha256) return std::nullopt;
    place = &panel;
  }
  std::vector<NamedPanels> out;
  for (const FileTensor& tensor : tensors) {
    NamedPanels& made = out.emplace_back();
    made.name = tensor.entry.name;
    made.lines = fmt::format("{} {} {}\n", made.name, tensor.entry.dtype,
                             fmt::join(tensor.entry.shape, " "));
    for (std::size_t p = 0; p < tensor.panels; ++p) {
      const PanelDigest* panel = found[tensor.first_panel + p];
      if (!panel) return std::nullopt;
      made.lines.append(panel->sha256.begin(), panel->sha256.end()).push_back('\n');
    }
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

std::string weights_digest(const std::vector<NamedPanels>& panels, const SaeShape& shape) {
  return digest_of(panels, tensor_names(shape));
}

// Of state.json's text, which holds `stored` as its state_digest; empty when it does not.
std::string state_digest(std::string text, const std::string& stored) {
  const std::size_t at = text.find(stored, text.find("\"state_digest\""));
  if (stored.size() != kNoDigest.size() || at == std::string::npos) return "";
  return sha256_hex(text.replace(at, stored.size(), kNoDigest));
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

// Rows [first, first + rows of `to`) of a stored tensor, straight to where they are held.
template <typename T>
void read_rows(const FileTensor& tensor, std::span<const std::byte> stored, std::size_t first,
               TensorView<T> to, Stream& stream, std::vector<PanelDigest>& digests) {
  if (to.size() == 0) return;
  const std::size_t rows = to.axis(0), row_bytes = row_elements(to) * sizeof(T);
  const bool here = to.device().kind == DeviceKind::cpu;
  const std::size_t fit =
      here ? rows
           : std::max<std::size_t>(1, kHostPieceBytes / row_bytes / tensor.panel_rows) *
                 tensor.panel_rows;
  Tensor<T> room;
  if (!here) room = Tensor<T>(to.rows(0, std::min(fit, rows)).shape());
  for (std::size_t at = 0; at < rows; at += fit) {
    const TensorView<T> part = to.rows(at, std::min(fit, rows - at));
    const TensorView<T> host = here ? part : room.view().rows(0, part.axis(0));
    const std::span<const std::byte> from =
        stored.subspan((first + at) * row_bytes, part.axis(0) * row_bytes);
    const std::span<std::byte> bytes = std::as_writable_bytes(host.span());
    parallel_for((from.size() + kCopyBytes - 1) / kCopyBytes, [&](std::size_t i) {
      const std::size_t begin = i * kCopyBytes, size = std::min(kCopyBytes, from.size() - begin);
      std::memcpy(bytes.data() + begin, from.data() + begin, size);
    });
    add_digests(tensor, first + at, part.axis(0), bytes, digests);
    if (here) continue;
    copy_tensor(TensorView<const T>(host), part, stream);
    stream.synchronize();
  }
}

SaeParameters part_of(SaeShape whole, const FeatureRange& features, const DecoderRule& decoder,
                      Device device) {
  whole.d_sae = features.count;
  SaeParameters made = make_parameters(whole, device);
  made.decoder = decoder;
  made.first_feature = features.first;
  return made;
}

// Into the tensors of `part`, which have the shapes expected.
void read_tensors(const SafetensorsFile& file, StoredPart& part, Stream& stream) {
  const std::vector<FileTensor> tensors = file_tensors(part.whole);
  for_tensors(tensors, part.state, [&](const FileTensor& tensor, auto view, std::size_t first) {
    const StoredTensor& stored = file.at(tensor.entry.name, tensor.entry.shape);
    if (stored.dtype != tensor.entry.dtype)
      throw Damaged("{}: tensor '{}' has dtype {}, expected {}", file.path().string(), stored.name,
                    stored.dtype, tensor.entry.dtype);
    read_rows(tensor, stored.bytes, has_feature_axis(stored.name) ? first : 0, view, stream,
              part.panels);
  });
  if (file.tensors().size() != tensors.size())
    throw Damaged("{}: {} tensors, expected {}", file.path().string(), file.tensors().size(),
                  tensors.size());
}

}  // namespace

std::string weights_digest(const SaeParameters& parameters) {
  std::vector<StoredTensor> tensors;
  for (const auto& [tensor_name, view] : named_tensors(parameters))
    tensors.push_back(stored_tensor<float>(tensor_name, DType::f32, shape_of(view), view.span()));
  return weights_digest(digest_panels(tensors), parameters.shape());
}

SafetensorsWriter open_trainer_tensors(const fs::path& folder, const SaeShape& whole,
                                       FileWriter::Begin begin) {
  std::vector<TensorEntry> entries;
  for (const FileTensor& tensor : file_tensors(whole)) entries.push_back(tensor.entry);
  return {folder / kWeightsFile, SafetensorsLayout(entries), begin};
}

std::vector<PanelDigest> write_owned(SafetensorsWriter& file, const SaeShape& whole,
                                     const SaeState& part, const OwnedFeatures& own,
                                     Stream& stream) {
  std::vector<PanelDigest> digests;
  for_tensors(
      file_tensors(whole), part,
      [&]<typename T>(const FileTensor& tensor, TensorView<T> view, std::size_t held) {
        const bool features = has_feature_axis(tensor.entry.name);
        if (!features && !own.replicated) return;
        const std::size_t first = features ? own.features.first : 0;
        REFRACT_ASSERT(
            !features || (first >= held && first + own.features.count <= held + view.axis(0)),
            "{}: owns {} features from {}, holds {} from {}", tensor.entry.name, own.features.count,
            first, view.axis(0), held);
        const TensorView<const T> rows =
            features ? view.rows(first - held, own.features.count) : view;
        for_host_rows<T>(
            rows, tensor.panel_rows, stream, [&](std::size_t at, TensorView<const T> some) {
              const auto bytes = std::as_bytes(some.span());
              add_digests(tensor, first + at, some.axis(0), bytes, digests);
              file.write(tensor.entry.name, (first + at) * row_elements(some) * sizeof(T), bytes);
            });
      });
  return digests;
}

std::vector<WrittenFile> write_trainer_state(const fs::path& folder, const SaeState& state,
                                             TrainerMetadata& metadata) {
  const SaeShape whole = state.shape();
  Stream stream(state.parameters.device());
  SafetensorsWriter file = open_trainer_tensors(folder, whole, FileWriter::Begin::create);
  const std::vector<PanelDigest> panels =
      write_owned(file, whole, state, {{0, whole.d_sae}, true}, stream);
  return {file.close(), write_trainer_facts(folder, whole, state, panels, metadata)};
}

WrittenFile write_trainer_facts(const fs::path& folder, const SaeShape& whole, const SaeState& part,
                                std::span<const PanelDigest> digests, TrainerMetadata& metadata) {
  const std::optional<std::vector<NamedPanels>> panels = merged(whole, digests);
  REFRACT_ASSERT(panels, "{} panels are not those of the whole", digests.size());
  metadata.weights_digest = weights_digest(*panels, whole);
  Json values = Json::object();
  for (const auto& [key, text] : metadata.values) {
    values[key] = Json::parse(text, nullptr, false);
    REFRACT_ASSERT(!values[key].is_discarded(), "{} is not JSON: {}", key, text);
  }
  Json json{{"schema", kSchema},
            {"version", kSchemaVersion},
            {"software_version", std::string(refract::kVersion)},
            {"step", part.step},
            {"trained_rows", part.trained_rows},
            {"scalars", part.scalars},
            {"config_digest", metadata.config_digest},
            {"weights_digest", metadata.weights_digest},
            {"tensors_digest", tensors_digest(*panels)},
            {"parents", metadata.parents},
            {"values", values}};
  json["state_digest"] = kNoDigest;
  std::string text = json.dump(1) + "\n";
  metadata.state_digest = sha256_hex(text);
  text.replace(text.find(kNoDigest, text.find("\"state_digest\"")), kNoDigest.size(),
               metadata.state_digest);
  return write_unsynced(folder / kStateFile, text);
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
  Stream stream;
  const FeatureRange all{0, config.d_sae};
  StoredPart part = read_trainer_part(folder, config, width, config_digest, {all, all}, stream);
  expect_whole(folder, part.whole, part.panels);
  return {std::move(part.state), std::move(part.metadata)};
}

StoredPart read_trainer_part(const fs::path& folder, const SaeConfig& config, const SaeWidth& width,
                             const std::string& config_digest, const HeldFeatures& held,
                             Stream& stream) {
  const Json json = read_state_json(folder);
  const fs::path json_path = folder / kStateFile, weights_path = folder / kWeightsFile;
  StoredPart out;
  out.metadata = metadata_of(json, folder);
  if (out.metadata.config_digest != config_digest)
    throw DataError(
        "{}: config_digest is {}, expected {}: the checkpoint was trained with other settings of "
        "SAE \"{}\". Restore those settings or choose another run directory.",
        json_path.string(), out.metadata.config_digest, config_digest, config.name);
  read_ours([&] {
    const SafetensorsFile file(weights_path);
    out.whole = {.d_sae = config.d_sae,
                 .d_in = width.d_in,
                 .d_out = width.d_out,
                 .threshold = file.find("threshold") != nullptr,
                 .gated = file.find("r_mag") != nullptr,
                 .mean = config.ema > 0};
    const auto part = [&](const FeatureRange& features) {
      return part_of(out.whole, features, decoder_rule(config), stream.device());
    };
    SaeState& state = out.state;
    state.parameters = part(held.parameters);
    state.m = part(held.moments);
    state.v = part(held.moments);
    if (out.whole.mean) state.mean = part(held.parameters);
    state.age = Tensor<std::uint64_t>(Shape{held.parameters.count}, stream.device());
    read_tensors(file, out, stream);
  });
  out.state.step = field<std::uint64_t>(json, "step", json_path);
  out.state.trained_rows = field<std::uint64_t>(json, "trained_rows", json_path);
  out.state.scalars = field<std::map<std::string, double>>(json, "scalars", json_path);
  return out;
}

void expect_whole(const fs::path& folder, const SaeShape& whole,
                  std::span<const PanelDigest> digests) {
  const Json json = read_state_json(folder);
  const fs::path weights_path = folder / kWeightsFile;
  const std::optional<std::vector<NamedPanels>> panels = merged(whole, digests);
  if (!panels) throw Damaged("{}: its ranks read different bytes of it", weights_path.string());
  const auto stored = field<std::string>(json, "tensors_digest", folder / kStateFile);
  if (const std::string found = tensors_digest(*panels); found != stored)
    throw Damaged("{}: its tensors have the digest {}, but state.json says {}",
                  weights_path.string(), found, stored);
  const auto weights = field<std::string>(json, "weights_digest", folder / kStateFile);
  if (const std::string found = weights_digest(*panels, whole); found != weights)
    throw Damaged("{}: weights digest is {}, but state.json says {}", weights_path.string(), found,
                  weights);
}

}  // namespace refract
