#include "refract/pipeline/ledger.hpp"

#include <nlohmann/json.hpp>

#include <array>
#include <chrono>
#include <ctime>

#include "refract/base/error.hpp"

namespace refract {
namespace {

using Json = nlohmann::ordered_json;

CheckpointRecord checkpoint_from(const Json& line) {
  CheckpointRecord record{.visit = line.at("visit"),
                          .steps_in_visit = line.at("steps_in_visit"),
                          .complete = line.at("complete"),
                          .folder = line.at("folder"),
                          .saes = {},
                          .store = line.at("store")};
  for (const auto& [sae, digest] : line.at("saes").items()) record.saes[sae] = digest;
  return record;
}

Json to_json(const CheckpointRecord& record) {
  return {{"visit", record.visit},       {"steps_in_visit", record.steps_in_visit},
          {"complete", record.complete}, {"folder", record.folder},
          {"saes", record.saes},         {"store", record.store}};
}

void apply_line(const Json& line, RunState& state) {
  const std::string event = line.at("event");
  if (event == "sealed") {
    const std::uint64_t chunk = line.at("chunk");
    state.sealed[chunk] = {line.at("digest"), line.at("rows"), line.at("bytes")};
    state.evicted.erase(chunk);
  } else if (event == "evicted" || event == "lost") {
    const std::uint64_t chunk = line.at("chunk");
    state.sealed.erase(chunk);
    if (event == "evicted") state.evicted.insert(chunk);
  } else if (event == "checkpointed") {
    state.checkpoints.push_back(checkpoint_from(line));
  } else if (event == "withdrawn") {
    if (!state.checkpoints.empty()) state.checkpoints.pop_back();
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
    throw DataError("unknown event '{}'", event);
  }
}

void apply_text(std::string_view text, const fs::path& file, RunState& state) {
  std::size_t number = 0;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) return;  // a torn last line
    ++number;
    try {
      apply_line(Json::parse(text.substr(0, end)), state);
    } catch (const std::exception& error) {
      throw DataError(
          "{}:{}: not a ledger line ({}). Cut the file before this line to go on from there.",
          file.string(), number, error.what());
    }
    text.remove_prefix(end + 1);
  }
}

}  // namespace

std::string to_text(const CheckpointRecord& record) { return to_json(record).dump(); }
CheckpointRecord checkpoint_record_from(const std::string& text) {
  return checkpoint_from(Json::parse(text));
}

std::uint64_t RunState::visits_done() const {
  for (auto record = checkpoints.rbegin(); record != checkpoints.rend(); ++record)
    if (record->complete) return record->visit + 1;
  return 0;
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

Ledger::Ledger(const fs::path& file) : log_(file), state_(read_ledger(file)) {}

void Ledger::append(const std::string& line) {
  log_.append(line);
  apply_line(Json::parse(line), state_);
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
  Json line{{"event", "checkpointed"}};
  line.update(to_json(record));
  append(line.dump());
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
