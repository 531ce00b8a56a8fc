#pragma once
// Checkpoints of all SAEs of a run: one after each chunk, written, settled, named in the ledger;
// what it supersedes goes. The trainer's state is the truth; the SAELens folders beside it and
// `latest` are derived.
//
// An SAE's files are written by the ranks that own its features, each what it owns (owners.hpp):
// no rank needs memory for more than it trains. Schedule of one checkpoint:
//
//   every rank  main thread    write its part of all files, unsynced | train on
//               helper thread                                        | sync, read back
//   rank 0      helper thread    when all have: rename, `latest`, metrics.jsonl
//               main thread      announce | ledger line | prune
//
// One checkpoint at a time is on its way. A kill before the ledger's line leaves what the next
// start removes; nothing that a checkpoint supersedes goes before that line.
//
// The work for a checkpoint and its chunk does not grow with the number of those before. state.json
// stays for good and holds the visit's line of metrics.jsonl, so that a metrics.jsonl that was lost
// is written again.
#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "refract/base/background_work.hpp"
#include "refract/pipeline/ledger.hpp"
#include "refract/pipeline/run_config.hpp"
#include "refract/pipeline/run_folder.hpp"
#include "refract/sae/trainer_state.hpp"
#include "refract/stages/train.hpp"

namespace refract {

class MetricsLog;
class Retention;
class Session;
struct StagedFolder;
struct Superseded;

// Where training stands.
struct TrainingPosition {
  std::uint64_t visit = 0;           // the next, or the one in progress
  std::uint64_t steps_in_visit = 0;  // done
  std::string store_running;         // digest of the store as trained so far
};

// The model as those who load an SAE know it.
struct PublicModel {
  std::string name;    // of the hub, as TransformerLens takes it
  std::string family;  // ModelInfo's
};

// What checkpoints need to know of the run that they are of.
struct CheckpointedRun {
  const RunConfig& config;
  RunFolder folder;
  std::string store;                                 // digest, before anything was trained on
  std::vector<SaeConfig> saes;                       // of those, what the ranks train
  std::vector<std::string> training_digests;         // of each of them: what its checkpoints carry
  std::function<std::uint64_t()> visits;             // of the whole run
  std::function<std::vector<TrainedSae>()> initial;  // the SAEs before the first step, whole
  std::function<void()> expect_own;  // throws when another job took the run over; any thread
  PublicModel model = {};
};
[[nodiscard]] CheckpointedRun checkpointed_run(Session& session);  // its store is open
// Of the SAEs at these places alone.
[[nodiscard]] CheckpointedRun checkpointed_run(Session& session,
                                               const std::vector<std::size_t>& saes);

class Checkpoints {
 public:
  // announce: called by poll() on rank 0 of `ranks` (those that train) when a checkpoint is whole;
  // it gets it into the ledger.
  using Announce = std::function<void(const CheckpointRecord&)>;
  Checkpoints(CheckpointedRun run, Communicator& ranks, Announce announce);
  // ranks: a group of all_ranks, to which these SAEs were dealt; all of them restore together.
  Checkpoints(CheckpointedRun run, Communicator& ranks, Communicator& all_ranks, Announce announce);
  ~Checkpoints();

  struct Withdrawn {
    CheckpointRecord record;
    std::string cause;
  };
  struct Restored {
    TrainingPosition position;
    std::vector<Withdrawn> withdrawn;  // rank 0; newest first: could not be read; for the ledger
  };
  // Loads the newest readable checkpoint into `saes`, of which each rank reads what it trains, or
  // leaves them initial: a damaged one is gone back from, down to the beginning. Makes
  // metrics.jsonl say what the checkpoints say, removes folders that no ledger line names, and
  // writes `latest` when nothing is left to train. Rank 0 alone reads the ledger, which gets no
  // line of a checkpoint meanwhile.
  [[nodiscard]] Restored collective_restore(std::vector<TrainedSae>& saes, StepRunner& runner);

  enum class Reason { visit_done, interval, stop };
  // position counts what is done. visit_done: the visit's last step is included; metrics holds its
  // line of metrics.jsonl for each SAE (rank 0 of `ranks`), else nothing. `latest` is written at a
  // stop, at the end of training, and when the last one is older than checkpoint.every_s. Not while
  // another one is pending. The SAEs may be trained on as soon as it returns.
  void collective_save(const TrainingPosition& position, Reason reason,
                       const std::vector<std::string>& metrics, std::vector<TrainedSae>& saes,
                       StepRunner& runner);

  // A checkpoint was saved and not announced yet; on other ranks than 0: what this rank wrote of it
  // is not settled yet, and rank 0 waits for that.
  [[nodiscard]] bool pending() const { return helper_.busy(); }
  // Every rank. Announces the pending checkpoint once it is whole; throws what kept it from that
  // (SystemError: a full disk; Damaged: the disk does not give back what was written). To be called
  // often.
  void poll();

  // Rank 0, once for each checkpoint announced, in order, when the ledger names it: what it
  // supersedes goes.
  void prune();

 private:
  [[nodiscard]] std::filesystem::path folder_of(const SaeConfig& sae,
                                                const std::string& checkpoint) const;
  [[nodiscard]] StagedFolder collective_stage_checkpoint(std::size_t i, TrainedSae& sae,
                                                         const TrainingPosition& position,
                                                         const std::string& metrics, bool exports,
                                                         StepRunner& runner);
  void start_helper(std::vector<StagedFolder> staged, std::vector<std::string> lines);
  void remove(const std::vector<Superseded>& superseded);
  [[nodiscard]] std::string collective_read(const CheckpointRecord& record,
                                            std::vector<TrainedSae>& saes, StepRunner& runner);
  [[nodiscard]] std::optional<CheckpointRecord> collective_load(
      std::vector<CheckpointRecord>& records, std::vector<TrainedSae>& saes, StepRunner& runner,
      Restored& restored);
  void tidy(const std::vector<CheckpointRecord>& records);
  void remove_unnamed(const std::vector<CheckpointRecord>& records);
  void restore_metrics(std::size_t i, const std::vector<CheckpointRecord>& records);
  void apply_keep_rule(const std::vector<CheckpointRecord>& records);

  CheckpointedRun run_;
  Communicator& ranks_;
  Communicator& all_ranks_;
  Announce announce_;
  std::vector<MetricsLog> metrics_;  // rank 0, of each SAE
  std::unique_ptr<Retention> retention_;
  CheckpointRecord saved_;                  // while pending
  std::deque<CheckpointRecord> announced_;  // and not named yet
  double latest_s_ = 0;                     // when `latest` was written, by the monotonic clock
  int settled_ = 0;                        // rank 0: other ranks that are done with the pending one
  std::atomic<bool> all_settled_ = false;  // the same, for the helper
  BackgroundWork helper_;
};

// Fills `saes` from one checkpoint, whole, on the host. Damaged when a file of it is missing or not
// what was written; DataError when it was trained with other settings.
void load_checkpoint(const CheckpointedRun& run, const CheckpointRecord& record,
                     std::vector<TrainedSae>& saes);

// The visit's line of metrics.jsonl as state.json in `folder` has it; Damaged when it has none.
[[nodiscard]] std::string recorded_metrics(const TrainerMetadata& metadata,
                                           const std::filesystem::path& folder);
// Whether a SAELens folder holds what its SHA256SUMS says, made of the weights with this digest.
[[nodiscard]] bool export_is_whole(const std::filesystem::path& folder, const std::string& weights);

// The SAEs as the newest complete checkpoint has them, for a rank that did not train.
[[nodiscard]] std::vector<TrainedSae> load_newest(Session& session, const RunState& state);

}  // namespace refract
