#pragma once
// The ledger is the truth of a run: state changes only, one JSON line each, written by world rank 0
// and synced before anyone is told. What is not in it has not happened.
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "refract/base/file.hpp"

namespace refract {

// What a line says of one SAE's checkpoint.
struct SaeCheckpoint {
  std::string weights;  // digest of the fp32 master weights
  std::string state;    // digest of the whole trainer state
  friend bool operator==(const SaeCheckpoint&, const SaeCheckpoint&) = default;
};

// The checkpoint of a visit, gathered from its lines: one per SAE. visit counts chunks trained
// (with corpus_passes > 1 a chunk is visited again); steps_in_visit < all of them is a checkpoint
// within the chunk.
struct CheckpointRecord {
  std::uint64_t visit = 0;
  std::uint64_t steps_in_visit = 0;
  bool complete = true;                       // the visit's last step is included
  std::string folder;                         // name under saes/<name>/checkpoints/
  std::map<std::string, SaeCheckpoint> saes;  // by name
  std::string store;                          // running digest of the store as trained so far
};

// One JSON object, for messages between ranks.
[[nodiscard]] std::string to_text(const CheckpointRecord& record);
[[nodiscard]] CheckpointRecord checkpoint_record_from(const std::string& text);

struct ChunkRecord {
  std::string digest;
  std::uint64_t rows = 0, bytes = 0;
};

struct AttemptRecord {
  std::uint64_t attempt = 0;
  std::string job, host, started, ended, outcome;  // ended and outcome empty: killed, or running
  int ranks = 1;
};

// The checkpoints that the ledger names, oldest first. A line more costs the same however many
// there are; what goes, goes near the end.
class CheckpointList {
 public:
  [[nodiscard]] auto begin() const { return records_.begin(); }
  [[nodiscard]] auto end() const { return records_.end(); }
  [[nodiscard]] auto rbegin() const { return records_.rbegin(); }
  [[nodiscard]] auto rend() const { return records_.rend(); }
  [[nodiscard]] bool empty() const { return records_.empty(); }
  [[nodiscard]] std::size_t size() const { return records_.size(); }
  [[nodiscard]] const CheckpointRecord& front() const { return records_.front(); }
  [[nodiscard]] const CheckpointRecord& back() const { return records_.back(); }
  // A record of one SAE. Lines of one checkpoint follow each other; of a checkpoint made again the
  // newer lines count.
  void add(CheckpointRecord line);
  void erase(const std::string& folder);

 private:
  std::vector<CheckpointRecord> records_;
  std::unordered_map<std::string, std::size_t> by_folder_;  // -> index
};

// What the ledger says after all its lines.
struct RunState {
  std::map<std::uint64_t, ChunkRecord> sealed;  // chunk -> record, evicted ones removed
  std::map<std::uint64_t, ChunkRecord> known;   // also those evicted or lost since
  std::set<std::uint64_t> evicted;
  std::uint64_t sealed_rows = 0, sealed_bytes = 0;  // of all in `sealed`
  CheckpointList checkpoints;
  std::vector<AttemptRecord> attempts;
  std::string store, calibration, heldout;         // digests; empty: not made yet
  std::uint64_t shards = 0, rows = 0, visits = 0;  // of the whole run; 0 while the corpus streams
  std::map<std::string, std::string> finished;  // part of the analysis -> digest it finished with

  // The checkpoints that name every one of these SAEs, oldest first: a kill between two lines
  // leaves one that does not. A copy, for a start.
  [[nodiscard]] std::vector<CheckpointRecord> checkpoints_of(
      const std::vector<std::string>& saes) const;
  // Visits whose complete checkpoint of every one of these SAEs is in the ledger. Looks at the
  // newest alone, where that is one.
  [[nodiscard]] std::uint64_t visits_done(const std::vector<std::string>& saes) const;
};

class Ledger {
 public:
  // Reads what is there; DataError names a damaged line, or the refract that wrote another schema.
  // before_line is called before each line: it throws when the run is no longer ours (Claim).
  explicit Ledger(const std::filesystem::path& file, std::function<void()> before_line = {});
  [[nodiscard]] const RunState& state() const { return state_; }
  // As before each line: also before a rename of what a line is going to name.
  void expect_own() const {
    if (before_line_) before_line_();
  }

  // The store exists, with these frozen parts.
  void prepared(const std::string& store, const std::string& calibration,
                const std::string& heldout);
  // How long the run is: all its shards are admitted.
  void ordered(std::uint64_t shards, std::uint64_t rows, std::uint64_t visits);
  void planned(std::uint64_t chunk, std::uint64_t rows);
  void sealed(std::uint64_t chunk, const ChunkRecord& record);
  void evicted(std::uint64_t chunk);
  void checkpointed(const CheckpointRecord& record);  // a line per SAE, synced together
  // The newest checkpoint cannot be read: the run goes on from the one before.
  void withdrawn(const CheckpointRecord& record, const std::string& cause);
  void lost(std::uint64_t chunk);  // a sealed chunk is missing or damaged: it is made again
  void finished(const std::string& stage, const std::string& digest);
  void attempt_started(const AttemptRecord& record);
  void attempt_ended(std::uint64_t attempt, const std::string& outcome);

 private:
  void append(const std::string& lines);
  std::function<void()> before_line_;
  AppendLog log_;
  RunState state_;
};

// The state without opening for writing (dry run, report, describe).
[[nodiscard]] RunState read_ledger(const std::filesystem::path& file);

[[nodiscard]] std::string utc_now();  // 2026-11-23T22:41:35Z

}  // namespace refract
