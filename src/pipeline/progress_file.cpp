#include "refract/pipeline/progress_file.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "refract/base/error.hpp"
#include "refract/base/file.hpp"

namespace refract {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kSchema = "refract.progress";
constexpr int kVersion = 1;

// Of time that a stage takes of a run, roughly: so that the whole grows evenly.
double weight_of(const std::string& stage) {
  constexpr std::array<std::pair<std::string_view, double>, 6> kWeights{{{"download", 1},
                                                                         {"tokenize", 4},
                                                                         {"extract", 45},
                                                                         {"train", 40},
                                                                         {"evaluate", 4},
                                                                         {"probe", 6}}};
  for (const auto& [name, weight] : kWeights)
    if (name == stage) return weight;
  return 0;
}

// A stage of nothing is done.
double share_of(const StageProgress& stage) {
  const auto of = static_cast<double>(stage.of.value_or(0));
  return of > 0 ? std::min(1.0, (static_cast<double>(stage.done) + stage.part) / of) : 1.0;
}

// Nothing: not known.
std::optional<double> left_of(const StageProgress& stage) {
  if (!stage.of) return std::nullopt;
  const double units = static_cast<double>(*stage.of) * (1 - share_of(stage));
  if (units <= 0) return 0;
  return stage.unit_s ? std::optional(units * *stage.unit_s) : std::nullopt;
}

bool is_corpus(const StageProgress& stage) {
  return stage.stage == "download" || stage.stage == "tokenize";
}

template <typename Value>
void put(Json& json, const char* key, const std::optional<Value>& value) {
  if (value) json[key] = *value;
}

template <typename Value>
std::optional<Value> take(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found == json.end() ? std::nullopt : std::optional(found->get<Value>());
}

Json to_json(const WorkPiece& piece) {
  Json json{{"stage", piece.stage}, {"what", piece.what}};
  put(json, "share", piece.share);
  put(json, "rate", piece.rate);
  if (!piece.unit.empty()) json["unit"] = piece.unit + "/s";
  return json;
}

WorkPiece piece_from(const Json& json) {
  std::string unit = json.value("unit", "");
  if (unit.ends_with("/s")) unit.resize(unit.size() - 2);
  return {.stage = json.at("stage"),
          .what = json.at("what"),
          .share = take<double>(json, "share"),
          .rate = take<double>(json, "rate"),
          .unit = unit};
}

Json to_json(const StageProgress& stage) {
  Json json{{"stage", stage.stage}, {"done", stage.done}};
  put(json, "of", stage.of);
  json["part"] = stage.part;
  put(json, "unit_s", stage.unit_s);
  return json;
}

StageProgress stage_from(const Json& json) {
  return {.stage = json.at("stage"),
          .done = json.at("done"),
          .of = take<std::uint64_t>(json, "of"),
          .part = json.at("part"),
          .unit_s = take<double>(json, "unit_s")};
}

ProgressRecord record_from(const Json& json) {
  ProgressRecord record{.attempt = json.at("attempt"),
                        .job = json.at("job"),
                        .host = json.at("host"),
                        .hosts = json.at("hosts"),
                        .ranks = json.at("ranks"),
                        .command = json.at("command"),
                        .log = json.value("log", ""),
                        .started = json.at("started"),
                        .time = json.at("time"),
                        .ended = json.at("ended"),
                        .now = {},
                        .stages = {},
                        .overlaps = json.at("overlaps"),
                        .allocation_end = take<std::int64_t>(json, "allocation_end"),
                        .rates = {},
                        .disk_max_bytes = json.at("disk").at("max_bytes"),
                        .disk = {}};
  for (const Json& piece : json.at("now")) record.now.push_back(piece_from(piece));
  for (const Json& stage : json.at("stages")) record.stages.push_back(stage_from(stage));
  for (const auto& [stage, rate] : json.at("rates").items())
    record.rates.emplace_back(stage, rate.get<double>());
  for (const auto& [name, bytes] : json.at("disk").at("classes").items())
    record.disk.emplace_back(name, bytes.get<std::uint64_t>());
  return record;
}

const char* class_of(const fs::path& inside) {
  const std::string top = inside.begin()->string(), name = inside.filename().string();
  if (top == "saes")
    return name.starts_with("trainer_state") ? "trainer states" : "SAELens folders";
  if (top == "features" || inside.extension() == ".html") return "features and report";
  if (name.starts_with("chunk-")) return "chunks";
  if (name.starts_with("heldout")) return "held-out rows";
  if (name.starts_with("evidence")) return "evidence rows";
  return "records";
}

}  // namespace

std::optional<double> share_of_whole(const std::vector<StageProgress>& stages) {
  double sum = 0, all = 0;
  for (const StageProgress& stage : stages) {
    if (!stage.of) return std::nullopt;
    sum += weight_of(stage.stage) * share_of(stage);
    all += weight_of(stage.stage);
  }
  return all > 0 ? std::optional(sum / all) : std::nullopt;
}

std::optional<TimeLeft> time_left(const std::vector<StageProgress>& stages, bool overlaps) {
  // What a chunk waits for of the corpus comes while others are extracted and trained.
  const bool only_corpus = std::ranges::all_of(stages, is_corpus);
  TimeLeft left;
  double beside_s = 0;  // of extract and train together
  bool any = false;
  for (const StageProgress& stage : stages) {
    if (is_corpus(stage) && !only_corpus) continue;
    const std::optional<double> more_s = left_of(stage);
    const bool chunks = stage.stage == "extract" || stage.stage == "train";
    if (!more_s && chunks) return std::nullopt;
    if (!more_s) break;
    if (chunks) {
      left.seconds -= beside_s;
      beside_s = overlaps ? std::max(beside_s, *more_s) : beside_s + *more_s;
      left.seconds += beside_s;
    } else {
      left.seconds += *more_s;
    }
    left.until = stage.stage;
    any = true;
  }
  if (!any) return std::nullopt;
  if (left.until == stages.back().stage) left.until.clear();
  return left;
}

std::string to_text(const ProgressRecord& record) {
  Json json{{"schema", kSchema},     {"version", kVersion},      {"attempt", record.attempt},
            {"job", record.job},     {"host", record.host},      {"hosts", record.hosts},
            {"ranks", record.ranks}, {"command", record.command}};
  if (!record.log.empty()) json["log"] = record.log;
  json["started"] = record.started;
  json["time"] = record.time;
  json["ended"] = record.ended;
  json["now"] = Json::array();
  for (const WorkPiece& piece : record.now) json["now"].push_back(to_json(piece));
  put(json, "share", share_of_whole(record.stages));
  if (const auto left = time_left(record.stages, record.overlaps)) {
    json["left_s"] = left->seconds;
    if (!left->until.empty()) json["left_until"] = left->until;
  }
  put(json, "allocation_end", record.allocation_end);
  json["overlaps"] = record.overlaps;
  json["stages"] = Json::array();
  for (const StageProgress& stage : record.stages) json["stages"].push_back(to_json(stage));
  json["rates"] = Json::object();
  for (const auto& [stage, rate] : record.rates) json["rates"][stage] = rate;
  Json classes = Json::object();
  for (const auto& [name, bytes] : record.disk) classes[name] = bytes;
  json["disk"] = {{"max_bytes", record.disk_max_bytes}, {"classes", classes}};
  // A path may hold any bytes.
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

void write_progress(const fs::path& file, const ProgressRecord& record) {
  const fs::path part = part_name(file);
  {
    std::ofstream text(part, std::ios::trunc);
    text << to_text(record);
    text.flush();
    if (!text) {
      ::unlink(part.c_str());
      return;
    }
  }
  std::error_code ignored;
  fs::rename(part, file, ignored);
}

std::optional<ProgressRecord> read_progress(const fs::path& file) {
  std::error_code ignored;
  if (!fs::exists(file, ignored)) return std::nullopt;
  const Json json = Json::parse(read_file(file), nullptr, false);
  if (json.is_object() && json.value("schema", Json()) == kSchema &&
      json.value("version", Json()) != kVersion)
    throw DataError("{} was written by another refract (its version is {})", file.string(),
                    json.value("version", Json()).dump());
  try {
    if (json.at("schema") != kSchema) throw DataError("another schema");
    return record_from(json);
  } catch (const std::exception&) {
    throw DataError(
        "{} is damaged and not looked at; the next start writes it again, and nothing else reads "
        "it",
        file.string());
  }
}

DiskUse disk_use_of_run(const fs::path& run) {
  std::map<std::string, std::uint64_t> bytes;
  std::error_code ignored;
  for (auto entry = fs::recursive_directory_iterator(run, ignored);
       !ignored && entry != fs::recursive_directory_iterator(); entry.increment(ignored)) {
    std::error_code gone;
    if (!entry->is_regular_file(gone)) continue;
    const std::uint64_t size = entry->file_size(gone);
    if (!gone) bytes[class_of(entry->path().lexically_relative(run))] += size;
  }
  return {bytes.begin(), bytes.end()};
}

}  // namespace refract
