#pragma once
// Checkpoints of all SAEs of a run: one after each chunk, written, named in the ledger, read back,
// pruned. The trainer's state is the truth; the SAELens folders beside it and `latest` are derived.
//
// state.json stays for good and holds the visit's line of metrics.jsonl, so that a metrics.jsonl
// that was lost is written again.
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "refract/pipeline/ledger.hpp"
#include "refract/pipeline/session.hpp"
#include "refract/sae/checkpoint.hpp"
#include "refract/stages/train.hpp"

namespace refract {

// Where training stands.
struct TrainingPosition {
  std::uint64_t visit = 0;           // the next, or the one in progress
  std::uint64_t steps_in_visit = 0;  // done
  std::string store_running;         // digest of the store as trained so far
};

class Checkpoints {
 public:
  // announce: called on rank 0 of `ranks` (those that train) when a checkpoint is whole; it gets it
  // into the ledger.
  using Announce = std::function<void(const CheckpointRecord&)>;
  Checkpoints(Session& session, Communicator& ranks, Announce announce);

  struct Withdrawn {
    CheckpointRecord record;
    std::string cause;
  };
  struct Restored {
    TrainingPosition position;
    std::vector<Withdrawn> withdrawn;  // newest first: could not be read; for the ledger
  };
  // Loads the newest readable checkpoint into `saes`, or leaves them initial: a damaged one is gone
  // back from, down to the beginning. Makes metrics.jsonl say what the checkpoints say, removes
  // folders that no ledger line names, and writes `latest` when nothing is left to train.
  [[nodiscard]] Restored collective_restore(const RunState& state, std::vector<TrainedSae>& saes);

  enum class Reason { visit_done, interval, stop };
  // position counts what is done. visit_done: the visit's last step is included; metrics holds its
  // line of metrics.jsonl for each SAE (rank 0 of `ranks`), else nothing. `latest` is written at a
  // stop, at the end of training, and when the last one is older than checkpoint.every_s.
  void collective_save(const TrainingPosition& position, Reason reason,
                       const std::vector<std::string>& metrics, std::vector<TrainedSae>& saes,
                       StepRunner& runner);

  // Rank 0, once the ledger names every checkpoint announced so far: what they supersede goes.
  void prune();

 private:
  [[nodiscard]] SaeCheckpoint write_folder(std::size_t i, const TrainedSae& sae,
                                           const TrainingPosition& position, bool complete,
                                           const std::string& metrics, const std::string& folder);
  void write_export(const std::filesystem::path& folder, const TrainedSae& sae, DType dtype) const;
  void write_latest(const TrainedSae& sae);
  void write_metrics(const std::string& sae);
  [[nodiscard]] bool keeps_export(std::uint64_t visit) const;
  void mend_exports(const std::vector<TrainedSae>& saes);
  void remove_unnamed();
  [[nodiscard]] std::map<std::string, std::string> saelens_metadata(const TrainedSae& sae) const;

  Session& session_;
  Communicator& ranks_;
  Announce announce_;
  std::vector<CheckpointRecord> records_;  // rank 0: in the ledger or announced, oldest first
  std::size_t pruned_ = 0;  // complete records that no longer hold anything to remove
  double latest_s_ = 0;     // when `latest` was written, by the monotonic clock
};

// Fills `saes` from one checkpoint. Damaged when a file of it is missing or not what was written;
// ConfigError when it was trained with other settings.
void load_checkpoint(Session& session, const CheckpointRecord& record,
                     std::vector<TrainedSae>& saes);

// The visit's line of metrics.jsonl as state.json in `folder` has it; Damaged when it has none.
[[nodiscard]] std::string recorded_metrics(const TrainerMetadata& metadata,
                                           const std::filesystem::path& folder);
// Whether a SAELens folder holds what its SHA256SUMS says, made of the weights with this digest.
[[nodiscard]] bool export_is_whole(const std::filesystem::path& folder, const std::string& weights);

// Whether `keep` holds on to the SAELens folder of a visit, of so many in all; for KeepRule::last,
// while it is among the newest.
[[nodiscard]] bool keeps_export(const KeepRule& rule, std::uint64_t visit, std::uint64_t visits);

// The SAEs as the newest complete checkpoint has them, for a rank that did not train.
[[nodiscard]] std::vector<TrainedSae> load_newest(Session& session, const RunState& state);

}  // namespace refract
