#include "refract/pipeline/describe.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "pipeline/recorded.hpp"
#include "refract/base/activity.hpp"
#include "refract/base/digest.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/progress.hpp"
#include "refract/sae/trainer_state.hpp"
#include "refract/store/artifact.hpp"
#include "refract/store/safetensors.hpp"

namespace refract {
namespace {

using Json = nlohmann::ordered_json;

bool is_hdf5(const fs::path& path) { return path.extension() == ".h5"; }
bool is_safetensors(const fs::path& path) { return path.extension() == ".safetensors"; }
bool is_yaml(const fs::path& path) { return path.extension() == ".yaml"; }
bool is_json(const fs::path& path) { return path.extension() == ".json"; }
bool is_page(const fs::path& path) { return path.extension() == ".html"; }
bool is_status(const fs::path& path) { return path.filename() == "status"; }

// What cannot be looked at, such as a link to nothing, is neither.
bool is_file(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}
bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}
bool holds(const fs::path& folder, const char* name) { return is_there(folder / name); }
std::vector<fs::path> entries_of(const fs::path& folder) {
  std::vector<fs::path> entries;
  if (!is_folder(folder)) return entries;
  for (const auto& entry : fs::directory_iterator(folder)) entries.push_back(entry.path());
  std::ranges::sort(entries);
  return entries;
}
bool any_entry(const fs::path& folder, bool (*is)(const fs::path& path)) {
  return std::ranges::any_of(entries_of(folder), is);
}

// A raw shard has its record beside it.
fs::path record_of(const fs::path& shard) { return shard.string() + ".json"; }
bool is_shard(const fs::path& path) {
  return is_file(path) && is_file(record_of(path)) && !is_json(path);
}
bool is_lines(const fs::path& path) { return path.extension() == ".jsonl" && is_file(path); }

bool is_run(const fs::path& path) { return holds(path, "run.yaml") || holds(path, "ledger.jsonl"); }
bool is_store(const fs::path& path) {
  return holds(path, "manifest.yaml") || holds(path, "calibration.h5");
}
bool is_checkpoint(const fs::path& path) {
  return holds(path, "state.json") || holds(path, "cfg.json");
}
bool is_sae(const fs::path& path) {
  return holds(path, "checkpoints") || holds(path, "latest") || holds(path, "metrics.jsonl");
}
bool is_saes(const fs::path& path) { return any_entry(path, is_sae); }
bool is_checkpoints(const fs::path& path) { return any_entry(path, is_checkpoint); }
bool is_model(const fs::path& path) { return holds(path, "config.json"); }
bool is_shards(const fs::path& path) {
  return holds(path, "index.json") || any_entry(path, is_shard);
}
bool is_tables(const fs::path& path) { return any_entry(path, is_hdf5); }
bool is_features(const fs::path& path) { return is_run(path.parent_path()) && is_tables(path); }
bool is_contexts(const fs::path& path) {
  return path.filename().string().starts_with("contexts-") && is_tables(path);
}
bool is_all_shards(const fs::path& path) { return any_entry(path, is_shards); }
bool is_all_tokens(const fs::path& path) { return any_entry(path, is_tables); }
bool is_data_root(const fs::path& path) {
  return holds(path, "runs.jsonl") || is_all_shards(path / "shards") ||
         is_all_tokens(path / "tokens");
}

std::string as_it_stands(const fs::path& path, const char* what) {
  return fmt::format("{}\n  {}\n{}", path.string(), what, read_file(path));
}

std::string describe_yaml(const fs::path& path) { return as_it_stands(path, "YAML"); }
std::string describe_status(const fs::path& path) {
  return as_it_stands(path, "how the last attempt ended: WORD JOB ATTEMPT [CODE TEXT]");
}

std::string describe_json(const fs::path& path) {
  const Json json = Json::parse(read_file(path), nullptr, false);
  if (json.is_discarded()) throw DataError("{} is not JSON: it is damaged", path.string());
  std::string text = fmt::format("{}\n  JSON\n", path.string());
  if (!json.is_object()) return text + json.dump(1) + "\n";
  constexpr std::size_t kLongest = 70;
  for (const auto& [key, value] : json.items()) {
    std::string shown = value.dump();
    if (shown.size() > kLongest) shown = shown.substr(0, kLongest) + "...";
    text += fmt::format("  {:<24} {}\n", key, shown);
  }
  return text;
}

// How many lines, of which events, and the last one.
std::string describe_lines(const fs::path& path) {
  const std::string content = read_file(path);
  std::map<std::string, std::uint64_t> events;
  std::uint64_t lines = 0, foreign = 0;
  std::string last;
  for (std::size_t at = 0, end; (end = content.find('\n', at)) != std::string::npos; at = end + 1) {
    last = content.substr(at, end - at);
    const Json line = Json::parse(last, nullptr, false);
    ++lines;
    if (!line.is_object())
      ++foreign;
    else if (const auto event = line.find("event"); event != line.end() && event->is_string())
      ++events[event->get<std::string>()];
  }
  std::string text = fmt::format("{}\n  JSON lines: {}\n", path.string(), lines);
  for (const auto& [event, count] : events) text += fmt::format("  {:<24} {}\n", event, count);
  if (foreign > 0) text += fmt::format("  no JSON object           {}\n", foreign);
  if (!content.empty() && content.back() != '\n') text += "  a torn last line\n";
  return text + (lines > 0 ? fmt::format("  the last  {}\n", last) : "");
}

std::string describe_folder(const fs::path& path, const char* what) {
  std::string text = fmt::format("{}\n  {}\n", path.string(), what);
  for (const fs::path& entry : entries_of(path)) {
    std::error_code gone;
    const std::string name = entry.filename().string();
    const std::uint64_t bytes = is_file(entry) ? fs::file_size(entry, gone) : 0;
    if (is_folder(entry))
      text += fmt::format("    {}/\n", name);
    else
      text += fmt::format("    {:<46} {:>12}\n", name,
                          is_file(entry) && !gone ? human_bytes(bytes) : "not a file");
  }
  return text;
}

std::string describe_run(const fs::path& path) {
  std::string text = describe_folder(path, "the folder of a run");
  if (fs::exists(path / "status")) text += describe_status(path / "status");
  if (fs::exists(path / "ledger.jsonl")) text += describe_lines(path / "ledger.jsonl");
  return text;
}
std::string describe_store(const fs::path& path) {
  std::string text = describe_folder(path, "an activation store");
  return fs::exists(path / "manifest.yaml") ? text + describe_yaml(path / "manifest.yaml") : text;
}
std::string describe_checkpoint(const fs::path& path) {
  std::string text = describe_folder(path, "a checkpoint of one SAE");
  return fs::exists(path / "state.json") ? text + describe_json(path / "state.json") : text;
}
std::string describe_shards(const fs::path& path) {
  return describe_folder(path, "the shards of a corpus, as fetched");
}
std::string describe_shard(const fs::path& path) {
  return fmt::format("{}\n  a shard of a corpus, as fetched; its record:\n{}", path.string(),
                     describe_json(record_of(path)));
}
std::string describe_page(const fs::path& path) {
  return fmt::format("{}\n  a report, {}: open it in a browser\n", path.string(),
                     human_bytes(fs::file_size(path)));
}
template <const char* What>
std::string describe_as(const fs::path& path) {
  return describe_folder(path, What);
}
constexpr char kSae[] = "an SAE: its checkpoints, metrics, evaluation";
constexpr char kSaes[] = "the SAEs of a run";
constexpr char kCheckpoints[] = "the checkpoints of one SAE";
constexpr char kModel[] = "the folder of a language model";
constexpr char kFeatures[] = "what the features mean, a file for each SAE";
constexpr char kContexts[] = "context tables of a corpus, a file for each shard";
constexpr char kTokens[] = "token shards of a corpus, a file for each shard, and its contexts";
constexpr char kAllShards[] = "the shards of all corpora of a data root";
constexpr char kAllTokens[] = "the tokens of all corpora of a data root";
constexpr char kDataRoot[] = "a data root: shards and tokens that runs share";

// What it is, and who prints it; the first that fits.
struct Kind {
  bool (*is)(const fs::path& path);
  std::string (*print)(const fs::path& path);
};
constexpr std::array<Kind, 23> kKinds{{{is_run, describe_run},
                                       {is_store, describe_store},
                                       {is_checkpoint, describe_checkpoint},
                                       {is_data_root, describe_as<kDataRoot>},
                                       {is_shards, describe_shards},
                                       {is_model, describe_as<kModel>},
                                       {is_sae, describe_as<kSae>},
                                       {is_features, describe_as<kFeatures>},
                                       {is_contexts, describe_as<kContexts>},
                                       {is_tables, describe_as<kTokens>},
                                       {is_checkpoints, describe_as<kCheckpoints>},
                                       {is_saes, describe_as<kSaes>},
                                       {is_all_shards, describe_as<kAllShards>},
                                       {is_all_tokens, describe_as<kAllTokens>},
                                       {is_shard, describe_shard},
                                       {is_page, describe_page},
                                       {is_hdf5, describe_artifact},
                                       {is_safetensors, describe_artifact},
                                       {is_yaml, describe_yaml},
                                       {is_json, describe_json},
                                       {is_lines, describe_lines},
                                       {is_status, describe_status},
                                       {is_file, describe_artifact}}};

// A shard's record beside it: {"name", "bytes", "sha256"}.
bool verify_shard(const fs::path& record) {
  const Json json = Json::parse(read_file(record), nullptr, false);
  if (!json.is_object() || !json.contains("sha256") || !json["sha256"].is_string()) return false;
  fs::path shard = record;
  shard.replace_extension();
  if (!is_file(shard)) return false;
  const std::string stored = json["sha256"], found = sha256_of_file(shard);
  if (found != stored)
    throw Damaged("{}: its SHA-256 is {}, but {} says {}", shard.string(), found,
                  record.filename().string(), stored);
  return true;
}

// How far a file could be checked: every byte, its form alone, or not at all.
enum class Checked { whole, structure, nothing };

Checked verify_file(const fs::path& file) {
  if (is_hdf5(file)) {
    verify_artifact(file);
    return Checked::whole;
  }
  const bool state = file.filename() == "state.json";
  if (state ||
      (file.filename() == "trainer_state.safetensors" && holds(file.parent_path(), "state.json"))) {
    verify_trainer_state(file.parent_path());
    return Checked::whole;
  }
  if (is_shard(file)) return verify_shard(record_of(file)) ? Checked::whole : Checked::nothing;
  if (is_safetensors(file)) {
    (void)SafetensorsFile(file);  // holes, overlaps, a file cut short
    return Checked::structure;
  }
  return Checked::nothing;
}

bool is_below(const fs::path& path, const fs::path& folder) {
  const fs::path relative =
      fs::weakly_canonical(path).lexically_relative(fs::weakly_canonical(folder));
  return !relative.empty() && *relative.begin() != "..";
}

void expect_exists(const fs::path& path) {
  std::error_code ignored;
  if (!fs::exists(path, ignored))
    throw DataError("{} does not exist: give the path of a file or folder of refract",
                    path.string());
}

// Folders of runs at, above and below `path`.
std::vector<fs::path> runs_around(const fs::path& path) {
  std::vector<fs::path> runs;
  const auto look = [&](const fs::path& folder) {
    if (holds(folder, "ledger.jsonl")) runs.push_back(folder);
  };
  const fs::path whole = fs::weakly_canonical(path);
  for (fs::path above = whole.parent_path(); above != above.root_path();
       above = above.parent_path())
    look(above);
  look(path);
  if (is_folder(path))
    for (const auto& entry : fs::recursive_directory_iterator(path))
      if (is_folder(entry.path())) look(entry.path());
  return runs;
}

// Of what ledgers record at or below `path`, and of the models of runs there: each is checked.
std::set<fs::path> verify_recorded(const fs::path& path) {
  std::set<fs::path> checked;
  for (const fs::path& run : runs_around(path)) {
    const bool whole_run = is_below(run, path);
    for (const RecordedFile& recorded : recorded_files(run)) {
      if (!whole_run && !is_below(recorded.file, path)) continue;
      recorded.check();
      checked.insert(fs::weakly_canonical(recorded.file));
      tick();
    }
  }
  return checked;
}

// "runs/demo/" is "runs/demo".
fs::path without_slash(const fs::path& path) {
  return path.has_filename() ? path : path.parent_path();
}

}  // namespace

std::string describe(const fs::path& given) {
  const fs::path path = without_slash(given);
  expect_exists(path);
  for (const Kind& kind : kKinds)
    if (kind.is(path)) return kind.print(path);
  throw DataError(
      "{} is no folder of refract: describe takes the folder of a run, a store, an SAE, a "
      "checkpoint, features, a model, a data root, shards or tokens, or a file in one",
      path.string());
}

std::string verify(const fs::path& given) {
  const fs::path path = without_slash(given);
  expect_exists(path);
  std::vector<fs::path> files;
  if (is_folder(path)) {
    for (const auto& entry : fs::recursive_directory_iterator(path))
      if (is_file(entry.path())) files.push_back(entry.path());
  } else {
    files.push_back(path);
  }
  std::ranges::sort(files);
  const std::set<fs::path> recorded = verify_recorded(path);
  std::uint64_t structure = 0, nothing = 0, checked = 0;
  for (const fs::path& file : files) {
    const Checked how =
        recorded.contains(fs::weakly_canonical(file)) ? Checked::whole : verify_file(file);
    ++(how == Checked::whole ? checked : how == Checked::structure ? structure : nothing);
    tick();
  }
  if (checked + structure == 0)
    throw DataError("{} holds no file with a digest or checksum: nothing could be verified",
                    path.string());
  std::string text = fmt::format("{}: {} file(s) verified", path.string(), checked);
  if (structure > 0)
    text += fmt::format("; {} safetensors file(s) have no digest: structure only", structure);
  if (nothing > 0) text += fmt::format("; {} file(s) have nothing to compare with", nothing);
  return text + "\n";
}

}  // namespace refract
