#include "refract/pipeline/describe.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "refract/base/activity.hpp"
#include "refract/base/digest.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/progress.hpp"
#include "refract/sae/checkpoint.hpp"
#include "refract/store/artifact.hpp"
#include "refract/store/safetensors.hpp"

namespace refract {
namespace {

using Json = nlohmann::ordered_json;

bool is_hdf5(const fs::path& path) { return path.extension() == ".h5"; }
bool is_safetensors(const fs::path& path) { return path.extension() == ".safetensors"; }
bool is_yaml(const fs::path& path) { return path.extension() == ".yaml"; }
bool is_json(const fs::path& path) { return path.extension() == ".json"; }
bool is_lines(const fs::path& path) {
  return path.extension() == ".jsonl" && fs::is_regular_file(path);
}
bool is_status(const fs::path& path) { return path.filename() == "status"; }
bool holds(const fs::path& folder, const char* name) {
  return fs::is_directory(folder) && fs::exists(folder / name);
}
bool is_run(const fs::path& path) { return holds(path, "run.yaml") || holds(path, "ledger.jsonl"); }
bool is_store(const fs::path& path) {
  return holds(path, "manifest.yaml") || holds(path, "calibration.h5");
}
bool is_checkpoint(const fs::path& path) {
  return holds(path, "state.json") || holds(path, "cfg.json");
}
bool is_shards(const fs::path& path) { return holds(path, "index.json"); }
bool is_tables(const fs::path& path) {
  return fs::is_directory(path) &&
         std::any_of(fs::directory_iterator(path), fs::directory_iterator(),
                     [](const auto& entry) { return is_hdf5(entry.path()); });
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
  std::vector<fs::path> entries;
  for (const auto& entry : fs::directory_iterator(path)) entries.push_back(entry.path());
  std::ranges::sort(entries);
  for (const fs::path& entry : entries)
    text += fs::is_directory(entry) ? fmt::format("    {}/\n", entry.filename().string())
                                    : fmt::format("    {:<46} {:>12}\n", entry.filename().string(),
                                                  human_bytes(fs::file_size(entry)));
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
std::string describe_tables(const fs::path& path) {
  return describe_folder(path, "tables of a corpus (tokens, contexts) or features");
}

// What it is, and who prints it; the first that fits.
struct Kind {
  bool (*is)(const fs::path& path);
  std::string (*print)(const fs::path& path);
};
constexpr std::array<Kind, 12> kKinds{
    {{is_run, describe_run},
     {is_store, describe_store},
     {is_checkpoint, describe_checkpoint},
     {is_shards, describe_shards},
     {is_tables, describe_tables},
     {is_hdf5, describe_artifact},
     {is_safetensors, describe_artifact},
     {is_yaml, describe_yaml},
     {is_json, describe_json},
     {is_lines, describe_lines},
     {is_status, describe_status},
     {[](const fs::path& path) { return fs::is_regular_file(path); }, describe_artifact}}};

// A shard's record beside it: {"name", "bytes", "sha256"}.
bool verify_shard(const fs::path& record) {
  const Json json = Json::parse(read_file(record), nullptr, false);
  if (!json.is_object() || !json.contains("sha256") || !json["sha256"].is_string()) return false;
  fs::path shard = record;
  shard.replace_extension();
  if (!fs::is_regular_file(shard)) return false;
  const std::string stored = json["sha256"], found = sha256_of_file(shard);
  if (found != stored)
    throw Damaged("{}: its SHA-256 is {}, but {} says {}", shard.string(), found,
                  record.filename().string(), stored);
  return true;
}

// Whether there was anything to compare with.
bool verify_file(const fs::path& file) {
  if (is_hdf5(file)) {
    verify_artifact(file);
    return true;
  }
  if (file.filename() == "state.json") {
    verify_trainer_state(file.parent_path());
    return true;
  }
  if (is_json(file)) return verify_shard(file);
  if (is_safetensors(file)) {
    (void)SafetensorsFile(file);  // holes, overlaps, a file cut short
    return true;
  }
  return false;
}

}  // namespace

std::string describe(const fs::path& path) {
  if (!fs::exists(path))
    throw DataError("{} does not exist: give the path of a file or folder of refract",
                    path.string());
  for (const Kind& kind : kKinds)
    if (kind.is(path)) return kind.print(path);
  throw DataError(
      "{} is no folder of refract: describe takes the folder of a run, a store, a checkpoint, "
      "shards or tokens, or a file in one",
      path.string());
}

std::string verify(const fs::path& path) {
  if (!fs::exists(path))
    throw DataError("{} does not exist: give the path of a file or folder of refract",
                    path.string());
  std::vector<fs::path> files;
  if (fs::is_directory(path)) {
    for (const auto& entry : fs::recursive_directory_iterator(path))
      if (entry.is_regular_file()) files.push_back(entry.path());
  } else {
    files.push_back(path);
  }
  std::ranges::sort(files);
  std::uint64_t checked = 0;
  for (const fs::path& file : files) {
    checked += verify_file(file) ? 1 : 0;
    tick();
  }
  if (checked == 0)
    throw DataError("{} holds no file with a digest or checksum: nothing could be verified",
                    path.string());
  return fmt::format("{}: {} file(s) verified\n", path.string(), checked);
}

}  // namespace refract
