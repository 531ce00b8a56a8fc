#pragma once
// Checkpoints of all SAEs of a run: written, named in the ledger, read back, pruned. The trainer's state is the
// truth; the SAELens folders beside it are derived.
#include <cstdint>
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
  Checkpoints(Session& session, Ledger* ledger);  // ledger: world rank 0 only, else null

  // Loads the newest readable checkpoint into `saes` (an unreadable one is withdrawn, with a warning), or leaves
  // them initial. Cuts metrics.jsonl to the recorded length, removes folders that no ledger line names, makes
  // `latest` whole again.
  [[nodiscard]] TrainingPosition collective_restore(const RunState& state, std::vector<TrainedSae>& saes);

  // position counts what is done. complete: the visit's last step is included; then metrics were appended.
  void collective_save(const TrainingPosition& position, bool complete, std::vector<TrainedSae>& saes,
                       StepRunner& runner);

 private:
  void write_folder(std::size_t i, const TrainedSae& sae, const TrainingPosition& position, bool complete,
                    const std::string& folder);
  void write_latest(const TrainedSae& sae);
  void prune();
  bool restore_from(const CheckpointRecord& record, std::vector<TrainedSae>& saes, std::string& cause);
  void remove_unnamed();
  [[nodiscard]] std::map<std::string, std::string> saelens_metadata(const TrainedSae& sae) const;

  Session& session_;
  Ledger* ledger_;
};

}  // namespace refract
