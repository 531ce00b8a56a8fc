#include "refract/pipeline/ledger.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <ctime>
#include <sstream>
#include <stdexcept>

#include "refract/base/error.hpp"
#include "refract/store/artifact.hpp"

namespace refract {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kSchema = "refract.ledger";

Json to_json(const SaeCheckpoint& sae) { return {{"weights", sae.weights}, {"state", sae.state}}; }

CheckpointRecord checkpoint_from(const Json& json) {
  CheckpointRecord record{.visit = json.at("visit"),
                          .steps_in_visit = json.at("steps_in_visit"),
                          .complete = json.at("complete"),
                          .folder = json.at("folder"),
                          .saes = {},
                          .store = json.at("store")};
  if (!json.contains("saes")) {
    record.saes[json.at("sae")] = {json.at("weights"), json.at("state")};
    return record;
  }
  for (const auto& [name, sae] : json.at("saes").items())
    record.saes[name] = {sae.at("weights"), sae.at("state")};
  return record;
}

Json to_json(const CheckpointRecord& record) {
  Json json{{"visit", record.visit},       {"steps_in_visit", record.steps_in_visit},
            {"complete", record.complete}, {"folder", record.folder},
            {"store", record.store},       {"saes", Json::object()}};
  for (const auto& [name, sae] : record.saes) json["saes"][name] = to_json(sae);
  return json;
}

// Counts are never negative, never fractions: what is, nobody of ours wrote.
void expect_counts(const Json& line) {
  for (const auto& [key, value] : line.items())
    if (value.is_number() && !value.is_number_unsigned())
      throw std::invalid_argument("a count that is none");
}

void forget_sealed(std::uint64_t chunk, RunState& state) {
  const auto found = state.sealed.find(chunk);
  if (found == state.sealed.end()) return;
  state.sealed_rows -= found->second.rows;
  state.sealed_bytes -= found->second.bytes;
  state.sealed.erase(found);
}

void apply_line(const Json& line, RunState& state) {
  expect_counts(line);
  const std::string event = line.at("event");
  if (event == "sealed") {
    const std::uint64_t chunk = line.at("chunk");
    forget_sealed(chunk, state);  // sealed again: the newer line counts
    const ChunkRecord record{line.at("digest"), line.at("rows"), line.at("bytes")};
    state.sealed[chunk] = state.known[chunk] = record;
    state.sealed_rows += record.rows;
    state.sealed_bytes += record.bytes;
    state.evicted.erase(chunk);
  } else if (event == "evicted" || event == "lost") {
    const std::uint64_t chunk = line.at("chunk");
    forget_sealed(chunk, state);
    if (event == "evicted") state.evicted.insert(chunk);
  } else if (event == "checkpointed") {
    state.checkpoints.add(checkpoint_from(line));
  } else if (event == "withdrawn") {
    state.checkpoints.erase(line.at("folder"));
  } else if (event == "ordered") {
    state.shards = line.at("shards");
    state.rows = line.at("rows");
    state.visits = line.at("visits");
  } else if (event == "prepared") {
    state.store = line.at("store");
    state.calibration = line.at("calibration");
    state.heldout = line.at("heldout");
  } else if (event == "finished") {
    state.finished[line.at("stage")] = line.at("digest");
  } else if (event == "attempt") {
    state.attempts.push_back({.attempt = line.at("attempt"),
                              .job = line.at("job"),
                              .host = line.at("host"),
                              .started = line.at("time"),
                              .ended = "",
                              .outcome = "",
                              .ranks = line.at("ranks")});
  } else if (event == "ended") {
    if (!state.attempts.empty()) {
      state.attempts.back().ended = line.at("time");
      state.attempts.back().outcome = line.at("outcome");
    }
  } else if (event != "planned") {
    throw std::invalid_argument("unknown event");
  }
}

void expect_schema(const Json& line, const fs::path& file) {
  if (line.is_object() && line.contains("event"))
    throw DataError(
        "{} is of a run of refract 0.1.0 (schema 1); this refract reads schema {}. Give this run "
        "another folder (--set run=...), or use the refract that wrote it.",
        file.string(), kSchemaVersion);
  const auto version = line.is_object() ? line.find("version") : line.end();
  if (!line.is_object() || line.find("schema") == line.end() || line["schema"] != kSchema ||
      version == line.end() || !version->is_number_unsigned())
    throw Damaged(
        "{}:1: not the first line of a ledger, which is {}. Restore the file from a copy, or put "
        "that line back.",
        file.string(), Json{{"schema", kSchema}, {"version", kSchemaVersion}}.dump());
  if (*version != kSchemaVersion)
    throw DataError(
        "{} has schema {}; this refract reads schema {}. Give this run another folder (--set "
        "run=...), or use the refract that wrote it.",
        file.string(), version->dump(), kSchemaVersion);
}

// A line that was written whole and is not one of ours was changed by somebody. Nothing after it
// can be believed, and nobody but the user can say what it was.
void apply_line_of(const fs::path& file, std::size_t number, const Json& line, RunState& state) {
  try {
    apply_line(line, state);
  } catch (const std::exception&) {
    throw Damaged(
        "{}:{}: not a ledger line. Restore the file from a copy, or cut it before this line: what "
        "the lines from there on said is then done again.",
        file.string(), number);
  }
}

void apply_text(std::string_view text, const fs::path& file, RunState& state) {
  std::size_t number = 0;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) return;  // a torn last line
    const Json line = Json::parse(text.substr(0, end), nullptr, false);
    if (++number == 1)
      expect_schema(line, file);
    else
      apply_line_of(file, number, line, state);
    text.remove_prefix(end + 1);
  }
}

}  // namespace

std::string to_text(const CheckpointRecord& record) { return to_json(record).dump(); }
CheckpointRecord checkpoint_record_from(const std::string& text) {
  return checkpoint_from(Json::parse(text));
}

void CheckpointList::add(CheckpointRecord line) {
  // Groups of ranks name their SAEs when they have them, others' lines may stand between.
  const auto found = by_folder_.find(line.folder);
  if (found != by_folder_.end() &&
      !records_[found->second].saes.contains(line.saes.begin()->first)) {
    records_[found->second].saes.merge(line.saes);
    return;
  }
  erase(line.folder);
  by_folder_[line.folder] = records_.size();
  records_.push_back(std::move(line));
}

void CheckpointList::erase(const std::string& folder) {
  const auto found = by_folder_.find(folder);
  if (found == by_folder_.end()) return;
  const std::size_t at = found->second;
  by_folder_.erase(found);
  records_.erase(records_.begin() + static_cast<std::ptrdiff_t>(at));
  for (std::size_t i = at; i < records_.size(); ++i) by_folder_[records_[i].folder] = i;
}

namespace {

bool names_all(const CheckpointRecord& record, const std::vector<std::string>& saes) {
  return std::ranges::all_of(saes, [&](const auto& sae) { return record.saes.contains(sae); });
}

}  // namespace

std::vector<CheckpointRecord> RunState::checkpoints_of(const std::vector<std::string>& saes) const {
  std::vector<CheckpointRecord> whole;
  for (const CheckpointRecord& record : checkpoints)
    if (names_all(record, saes)) whole.push_back(record);
  return whole;
}

std::uint64_t RunState::visits_done(const std::vector<std::string>& saes) const {
  const auto newest = std::find_if(
      checkpoints.rbegin(), checkpoints.rend(),
      [&](const CheckpointRecord& record) { return record.complete && names_all(record, saes); });
  return newest == checkpoints.rend() ? 0 : newest->visit + 1;
}

std::string utc_now() {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text.data();
}

RunState read_ledger(const fs::path& file) {
  RunState state;
  std::error_code ignored;
  if (fs::exists(file, ignored)) apply_text(read_file(file), file, state);
  return state;
}

Ledger::Ledger(const fs::path& file, std::function<void()> before_line)
    : before_line_(std::move(before_line)), log_(file), state_(read_ledger(file)) {
  if (log_.size() != 0) return;
  log_.append(Json{{"schema", kSchema}, {"version", kSchemaVersion}}.dump());
  sync_path(file.parent_path());
}

void Ledger::append(const std::string& lines) {
  expect_own();
  log_.append(lines);
  std::istringstream each(lines);
  for (std::string line; std::getline(each, line);) apply_line(Json::parse(line), state_);
}

void Ledger::prepared(const std::string& store, const std::string& calibration,
                      const std::string& heldout) {
  append(Json{
      {"event", "prepared"}, {"store", store}, {"calibration", calibration}, {"heldout", heldout}}
             .dump());
}

void Ledger::ordered(std::uint64_t shards, std::uint64_t rows, std::uint64_t visits) {
  append(Json{{"event", "ordered"}, {"shards", shards}, {"rows", rows}, {"visits", visits}}.dump());
}

void Ledger::planned(std::uint64_t chunk, std::uint64_t rows) {
  append(Json{{"event", "planned"}, {"chunk", chunk}, {"rows", rows}}.dump());
}
void Ledger::sealed(std::uint64_t chunk, const ChunkRecord& record) {
  append(Json{{"event", "sealed"},
              {"chunk", chunk},
              {"rows", record.rows},
              {"bytes", record.bytes},
              {"digest", record.digest}}
             .dump());
}
void Ledger::evicted(std::uint64_t chunk) {
  append(Json{{"event", "evicted"}, {"chunk", chunk}}.dump());
}
void Ledger::lost(std::uint64_t chunk) { append(Json{{"event", "lost"}, {"chunk", chunk}}.dump()); }
void Ledger::checkpointed(const CheckpointRecord& record) {
  std::string lines;
  for (const auto& [name, sae] : record.saes) {
    Json line{{"event", "checkpointed"},
              {"visit", record.visit},
              {"sae", name},
              {"steps_in_visit", record.steps_in_visit},
              {"complete", record.complete},
              {"folder", record.folder},
              {"store", record.store}};
    line.update(to_json(sae));
    if (!lines.empty()) lines += '\n';
    lines += line.dump();
  }
  append(lines);
}
void Ledger::withdrawn(const CheckpointRecord& record, const std::string& cause) {
  append(Json{{"event", "withdrawn"}, {"folder", record.folder}, {"cause", cause}}.dump());
}
void Ledger::finished(const std::string& stage, const std::string& digest) {
  append(Json{{"event", "finished"}, {"stage", stage}, {"digest", digest}}.dump());
}
void Ledger::attempt_started(const AttemptRecord& record) {
  append(Json{{"event", "attempt"},
              {"attempt", record.attempt},
              {"job", record.job},
              {"host", record.host},
              {"ranks", record.ranks},
              {"time", record.started}}
             .dump());
}
void Ledger::attempt_ended(std::uint64_t attempt, const std::string& outcome) {
  append(Json{{"event", "ended"}, {"attempt", attempt}, {"outcome", outcome}, {"time", utc_now()}}
             .dump());
}

}  // namespace refract
