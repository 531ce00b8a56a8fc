#pragma once
// <run>/progress.json: how far the attempt that owns the run is, for `refract status` on whatever
// machine reads the folder. World rank 0 replaces it as a whole every few seconds and at every
// change of stage, and once more, marked `ended`, when the attempt ends. It is for people: nothing
// decides by it, it is in no digest, it is never synced (it need not outlive the machine), and what
// cannot be written is left. An attempt that is killed leaves the last one it wrote.
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace refract {

// What is at work now: "train 5 of 12".
struct WorkPiece {
  std::string stage;  // download | tokenize | prepare | extract | restore | train | evaluate |
                      // probe | report
  std::string what;
  std::optional<double> share;  // 0..1 of this piece; nothing where it is not known
  std::optional<double> rate;   // `unit` a second
  std::string unit;             // "rows", "tokens", ...
  friend bool operator==(const WorkPiece&, const WorkPiece&) = default;
};

// How far one stage of the command is: whole units (shards, chunks, visits, SAEs) and the part of
// those that are at work.
struct StageProgress {
  std::string stage;  // download | tokenize | extract | train | evaluate | probe
  std::uint64_t done = 0;
  std::optional<std::uint64_t> of;  // nothing: how long the corpus is is not known yet
  double part = 0;
  std::optional<double> unit_s;  // seconds for a unit, at this attempt's own pace so far
  friend bool operator==(const StageProgress&, const StageProgress&) = default;
};

using DiskUse = std::vector<std::pair<std::string, std::uint64_t>>;  // class -> bytes

struct ProgressRecord {
  std::uint64_t attempt = 0;
  std::string job, host;  // of world rank 0
  int hosts = 1, ranks = 1;
  std::string command;        // run | train | ...
  std::string log;            // where stdout goes; empty: not known
  std::string started, time;  // UTC, for people
  bool ended = false;
  std::vector<WorkPiece> now;         // what is furthest comes first
  std::vector<StageProgress> stages;  // of the command, in order
  bool overlaps = false;              // extract and train run beside each other (split layout)
  std::optional<std::int64_t> allocation_end;         // seconds since 1970
  std::vector<std::pair<std::string, double>> rates;  // stage -> rows/s of this attempt
  std::uint64_t disk_max_bytes = 0;                   // disk.max_bytes
  DiskUse disk;                                       // empty: not looked yet
};

// Share of the whole command, 0..1: the stages' shares, each with a weight for the time that it
// usually takes (docs/formats/run.md). Nothing while the length of a stage is not known.
[[nodiscard]] std::optional<double> share_of_whole(const std::vector<StageProgress>& stages);

// Seconds to the end of stage `until` at this attempt's own pace; `until` is empty where that is
// the end of the command. Nothing while the pace of the next stage is not known.
struct TimeLeft {
  double seconds = 0;
  std::string until;
};
[[nodiscard]] std::optional<TimeLeft> time_left(const std::vector<StageProgress>& stages,
                                                bool overlaps);

[[nodiscard]] std::string to_text(const ProgressRecord& record);
// As a whole under its name, not synced. What cannot be written is left.
void write_progress(const std::filesystem::path& file, const ProgressRecord& record);
// Nothing when absent; DataError, one line, when it cannot be read or is none.
[[nodiscard]] std::optional<ProgressRecord> read_progress(const std::filesystem::path& file);

// Bytes below a run's folder by what they are for, in the words of the dry run where it has one.
[[nodiscard]] DiskUse disk_use_of_run(const std::filesystem::path& run);

}  // namespace refract
