// How runs stand, in words, as a table, as JSON.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <nlohmann/json.hpp>

#include "refract/base/progress.hpp"
#include "refract/pipeline/run_status.hpp"

namespace refract {
namespace {

using Json = nlohmann::ordered_json;

std::string percent(double share) {
  // "100 %" only when nothing is left.
  return fmt::format("{:.0f} %", share < 1 ? std::min(99.0, 100 * share) : 100.0);
}

std::string per_second(double rate, const std::string& unit) {
  return unit == "bytes" ? human_bytes(static_cast<std::uint64_t>(rate)) + "/s"
                         : fmt::format("{} {}/s", human_count(rate), unit);
}

std::string until_of(const TimeLeft& left) {
  if (left.until == "train") return " until trained";
  return left.until.empty() ? " left" : fmt::format(" to the end of {}", left.until);
}

// "attempt 3 of job slurm-4711 on node7 (+1), 8 ranks"
std::string who(const RunStanding& s) {
  if (s.attempt == 0) return s.job.empty() ? "" : "job " + s.job;
  std::string text = fmt::format("attempt {} of job {}", s.attempt, s.job);
  if (!s.host.empty()) text += " on " + s.host;
  if (s.hosts > 1) text += fmt::format(" (+{})", s.hosts - 1);
  if (s.ranks > 0) text += fmt::format(", {} rank{}", s.ranks, s.ranks == 1 ? "" : "s");
  return text;
}

std::string with_code(const RunStanding& s) {
  return s.word == RunWord::failed && s.code != 0 ? fmt::format(" (exit code {})", s.code) : "";
}

std::string piece_text(const WorkPiece& piece) {
  return piece.what + (piece.share ? fmt::format(" ({})", percent(*piece.share)) : "");
}

// "train 5 of 12 (62 %), extract 7 of 12 (10 %)"; without progress.json what is done of each stage.
std::string stage_text(const RunStanding& s) {
  std::string text;
  for (const WorkPiece& piece : s.now) text += (text.empty() ? "" : ", ") + piece_text(piece);
  if (!text.empty()) return text;
  if (s.word == RunWord::done) return s.command.empty() ? "" : fmt::format("{} is done", s.command);
  for (const StageProgress& stage : s.stages)
    if (stage.of)
      text += fmt::format("{}{} {} of {}", text.empty() ? "" : ", ", stage.stage, stage.done,
                          *stage.of);
  return text;
}

std::string stage_line(const RunStanding& s) {
  std::string text = stage_text(s);
  if (s.share && s.word != RunWord::done)
    text += fmt::format("{}whole run {}", text.empty() ? "" : ", ", percent(*s.share));
  return text;
}

std::string rate_of_now(const RunStanding& s) {
  for (const WorkPiece& piece : s.now)
    if (piece.rate) return per_second(*piece.rate, piece.unit);
  return "";
}

std::string rate_line(const RunStanding& s) {
  std::string text;
  const auto add = [&](const std::string& more) {
    if (!more.empty()) text += (text.empty() ? "" : "; ") + more;
  };
  if (s.word == RunWord::running) {
    add(rate_of_now(s));
    if (s.left) add(fmt::format("about {}{}", human_seconds(s.left->seconds), until_of(*s.left)));
    if (s.allocation_end) {
      const auto left_s = static_cast<double>(*s.allocation_end - std::time(nullptr));
      add(left_s > 0 ? fmt::format("the allocation ends in {}", human_seconds(left_s))
                     : "the allocation has ended by this host's clock");
    }
    return text;
  }
  for (const auto& [stage, rate] : s.rates)
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", stage, per_second(rate, "rows"));
  return text.empty() ? "" : text + ", in its last attempt";
}

std::uint64_t disk_bytes(const RunStanding& s) {
  std::uint64_t sum = 0;
  for (const auto& [name, bytes] : s.disk) sum += bytes;
  return sum;
}

std::string disk_line(const RunStanding& s) {
  std::string text;
  if (!s.disk.empty()) {
    text = human_bytes(disk_bytes(s));
    if (!s.live) text += " in chunks";
    if (s.disk_max_bytes > 0)
      text += fmt::format(" of {} (disk.max_bytes)", human_bytes(s.disk_max_bytes));
  }
  if (s.disk_free)
    text +=
        fmt::format("{}file system: {} free", text.empty() ? "" : "; ", human_bytes(*s.disk_free));
  return text;
}

std::string cut_to(const std::string& text, std::size_t columns) {
  if (text.size() <= columns) return text;
  std::size_t end = columns - 3;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, end) + "...";
}

// Of a path the end tells more.
std::string cut_front_to(const std::string& text, std::size_t columns) {
  if (text.size() <= columns) return text;
  std::size_t from = text.size() - (columns - 3);
  while (from < text.size() && (static_cast<unsigned char>(text[from]) & 0xC0) == 0x80) ++from;
  return "..." + text.substr(from);
}

constexpr std::size_t kColumns = 100, kRunColumns = 28;

std::string row(std::string_view run, std::string_view state, std::string_view attempt,
                std::string_view what) {
  return fmt::format("{:<{}} {:<8} {:>3}  {}", run, kRunColumns, state, attempt, what);
}

std::string columns(std::string_view stage, std::string_view whole, std::string_view rate,
                    std::string_view left) {
  return fmt::format("{:<21} {:>5} {:>15} {:>12}", stage, whole, rate, left);
}

std::string what_of(const RunStanding& s) {
  if (s.word != RunWord::running && !s.cause.empty()) return s.cause;
  if (s.word == RunWord::none && !s.problems.empty()) return s.problems.front();
  if (s.word == RunWord::waiting) return s.note;
  const std::string stage = s.now.empty() ? stage_text(s) : piece_text(s.now.front());
  return columns(cut_to(stage, 21), s.share ? percent(*s.share) : "",
                 s.word == RunWord::running ? rate_of_now(s) : "",
                 s.left ? human_seconds(s.left->seconds) : "");
}

std::string without_space_behind(std::string text) {
  text.resize(text.find_last_not_of(' ') + 1);
  return text;
}

Json to_json(const WorkPiece& piece) {
  Json json{{"stage", piece.stage}, {"what", piece.what}};
  if (piece.share) json["share"] = *piece.share;
  if (piece.rate) {
    json["rate"] = *piece.rate;
    json["unit"] = piece.unit + "/s";
  }
  return json;
}

Json to_json(const RunStanding& s) {
  Json json{{"run", s.run.string()}, {"state", name(s.word)}, {"goes_on", s.goes_on}};
  const auto put = [&json](const char* key, const std::string& text) {
    if (!text.empty()) json[key] = text;
  };
  if (s.attempt > 0) json["attempt"] = s.attempt;
  put("job", s.job);
  put("host", s.host);
  if (s.attempt > 0) json["hosts"] = s.hosts;
  if (s.ranks > 0) json["ranks"] = s.ranks;
  put("command", s.command);
  if (s.code != 0) json["code"] = s.code;
  put("cause", s.cause);
  put("note", s.note);
  json["now"] = Json::array();
  for (const WorkPiece& piece : s.now) json["now"].push_back(to_json(piece));
  json["stages"] = Json::object();
  for (const StageProgress& stage : s.stages) {
    Json& of = json["stages"][stage.stage] = {{"done", stage.done}};
    if (stage.of) of["of"] = *stage.of;
  }
  if (s.share) json["share"] = *s.share;
  json["rates"] = Json::object();
  for (const auto& [stage, rate] : s.rates) json["rates"][stage] = rate;
  if (s.left) {
    json["left_s"] = s.left->seconds;
    if (!s.left->until.empty()) json["left_until"] = s.left->until;
  }
  if (s.allocation_end) json["allocation_end"] = *s.allocation_end;
  Json disk = Json::object();
  if (!s.disk.empty()) {
    disk["bytes"] = disk_bytes(s);
    for (const auto& [name, bytes] : s.disk) disk["classes"][name] = bytes;
  }
  if (s.disk_max_bytes > 0) disk["max_bytes"] = s.disk_max_bytes;
  if (s.disk_free) disk["free_bytes"] = *s.disk_free;
  json["disk"] = disk;
  put("log", s.log);
  json["problems"] = s.problems;
  return json;
}

}  // namespace

std::string describe_standing(const RunStanding& s) {
  std::string text = without_space_behind(fmt::format("{}   {}{}   {}", s.run.string(),
                                                      name(s.word), with_code(s), who(s))) +
                     "\n";
  const auto line = [&text](const char* what, const std::string& value) {
    if (!value.empty()) text += fmt::format("  {:<9} {}\n", what, value);
  };
  line("stage", stage_line(s));
  line("rate", rate_line(s));
  line("disk", disk_line(s));
  line("log", s.log);
  line("cause", s.cause);
  line("note", s.note);
  for (const std::string& problem : s.problems) line("problem", problem);
  return text;
}

std::string standing_line(const RunStanding& s) {
  return without_space_behind(
      cut_to(row(cut_front_to(s.run.string(), kRunColumns), name(s.word),
                 s.attempt > 0 ? std::to_string(s.attempt) : "", what_of(s)),
             kColumns));
}

std::string describe_standings(const std::vector<RunStanding>& standings) {
  std::string text =
      without_space_behind(row("run", "state", "att", columns("stage", "whole", "rate", "left"))) +
      "\n";
  std::array<std::size_t, kRunWords> counts{};
  for (const RunStanding& s : standings) {
    text += standing_line(s) + "\n";
    ++counts[static_cast<std::size_t>(s.word)];
  }
  std::string how;
  for (std::size_t word = 0; word < kRunWords; ++word)
    if (counts[word] > 0)
      how += fmt::format("{} {} {}", how.empty() ? ":" : ",", counts[word],
                         name(static_cast<RunWord>(word)));
  text += fmt::format("{} run{}{}\n", standings.size(), standings.size() == 1 ? "" : "s", how);
  for (const RunStanding& s : standings)
    for (const std::string& problem : s.problems)
      text += fmt::format("problem in {}: {}\n", s.run.string(), problem);
  return text;
}

std::string standings_json(const std::vector<RunStanding>& standings, bool one_line) {
  Json json{{"schema", "refract.status"}, {"version", 1}, {"runs", Json::array()}};
  for (const RunStanding& s : standings) json["runs"].push_back(to_json(s));
  // A path may hold any bytes.
  return json.dump(one_line ? -1 : 1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace refract
