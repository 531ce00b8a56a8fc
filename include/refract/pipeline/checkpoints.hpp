#pragma once
// Checkpoints of all SAEs of a run: written, named in the ledger, read back, pruned. The trainer's
// state is the truth; the SAELens folders beside it are derived.
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "refract/pipeline/ledger.hpp"
#include "refract/pipeline/session.hpp"
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
  // Loads the newest readable checkpoint into `saes`, or leaves them initial. Cuts metrics.jsonl to
  // the recorded length, removes folders that no ledger line names, makes `latest` whole again.
  [[nodiscard]] Restored collective_restore(const RunState& state, std::vector<TrainedSae>& saes);

  // position counts what is done. complete: the visit's last step is included; then metrics were
  // appended.
  void collective_save(const TrainingPosition& position, bool complete,
                       std::vector<TrainedSae>& saes, StepRunner& runner);

  // Rank 0, once the ledger names every checkpoint announced so far: what they supersede goes.
  void prune();

 private:
  void write_folder(std::size_t i, const TrainedSae& sae, const TrainingPosition& position,
                    bool complete, const std::string& folder);
  void write_latest(const TrainedSae& sae);
  void remove_unnamed();
  [[nodiscard]] std::map<std::string, std::string> saelens_metadata(const TrainedSae& sae) const;

  Session& session_;
  Communicator& ranks_;
  Announce announce_;
  std::vector<CheckpointRecord> records_;  // rank 0: in the ledger or announced, oldest first
};

// Fills `saes` from one checkpoint. false and a cause when it cannot be read. metrics_bytes: the
// length of each SAE's metrics.jsonl when it was written.
[[nodiscard]] bool load_checkpoint(Session& session, const CheckpointRecord& record,
                                   std::vector<TrainedSae>& saes,
                                   std::vector<std::uint64_t>& metrics_bytes, std::string& cause);

// The SAEs as the newest complete checkpoint has them, for a rank that did not train.
[[nodiscard]] std::vector<TrainedSae> load_newest(Session& session, const RunState& state);

}  // namespace refract
