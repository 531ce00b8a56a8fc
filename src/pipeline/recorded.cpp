#include "pipeline/recorded.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>

#include "pipeline/finished_parts.hpp"
#include "refract/base/activity.hpp"
#include "refract/base/digest.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/pipeline/checkpoints.hpp"
#include "refract/pipeline/identity.hpp"
#include "refract/pipeline/numerics.hpp"
#include "refract/sae/trainer_state.hpp"
#include "refract/store/calibration.hpp"

namespace refract {
namespace {

void expect_recorded(const fs::path& file, const std::string& recorded, const std::string& found) {
  if (found != recorded)
    throw Damaged("{} is not what the ledger names: its digest is {}, the ledger says {}",
                  file.string(), found, recorded);
}

void expect_there(const fs::path& file) {
  std::error_code ignored;
  if (!fs::exists(file, ignored))
    throw Damaged("{} is missing, and the ledger names it", file.string());
}

class Recorder {
 public:
  explicit Recorder(const fs::path& run) : state_(read_ledger(run / "ledger.jsonl")) {
    folder_ = run_folder(run, "");
    std::error_code ignored;
    if (!fs::exists(folder_.run_yaml(), ignored)) return;
    frozen_ = read_frozen(folder_.run_yaml());
    folder_ = run_folder(run, frozen_->inputs.model_name);
  }

  std::vector<RecordedFile> files() {
    add_store();
    for (const CheckpointRecord& record : state_.checkpoints) add_checkpoint(record);
    add_metrics();
    add_finished();
    add_model();
    return std::move(files_);
  }

 private:
  void add(const fs::path& file, std::function<void()> check) {
    files_.push_back({file, [file, check = std::move(check)] {
                        expect_there(file);
                        check();
                      }});
  }

  void add_chunk(const fs::path& file, const std::string& digest) {
    add(file, [file, digest] {
      const ChunkReader chunk(file);
      chunk.verify_blocks();
      expect_recorded(file, digest, chunk.content_digest());
    });
  }

  void add_store() {
    if (!frozen_) return;
    for (const auto& [chunk, record] : state_.sealed)
      add_chunk(folder_.chunk(chunk), record.digest);
    if (state_.calibration.empty()) return;
    add_chunk(folder_.heldout(), state_.heldout);
    add(folder_.calibration(), [file = folder_.calibration(), digest = state_.calibration] {
      expect_recorded(file, digest, read_calibration(file).content_digest);
    });
  }

  // The folder of an earlier stop within a chunk is gone once there is a newer one.
  void add_checkpoint(const CheckpointRecord& record) {
    for (const auto& [name, sae] : record.saes) {
      const fs::path folder = folder_.checkpoints(name) / record.folder;
      std::error_code ignored;
      if (!record.complete && !fs::exists(folder, ignored)) continue;
      add(folder / "state.json", [folder, sae] {
        const TrainerMetadata metadata = read_trainer_metadata(folder);
        expect_recorded(folder / "state.json", sae.state, metadata.state_digest);
        expect_recorded(folder / "state.json", sae.weights, metadata.weights_digest);
      });
      if (const fs::path state = folder / "trainer_state.safetensors"; fs::exists(state, ignored))
        add(state, [folder] { verify_trainer_state(folder); });
    }
  }

  void add_metrics() {
    std::set<std::string> names;
    for (const CheckpointRecord& record : state_.checkpoints)
      if (record.complete)
        for (const auto& [name, sae] : record.saes) names.insert(name);
    for (const std::string& name : names)
      add(folder_.metrics(name), [this_ = *this, name] { this_.check_metrics(name); });
  }

  // A line more than the ledger has checkpoints is one of a run that was killed between the two.
  void check_metrics(const std::string& sae) const {
    const fs::path file = folder_.metrics(sae);
    const std::string found = read_file(file);
    std::size_t at = 0;
    for (const CheckpointRecord& record : state_.checkpoints) {
      if (!record.complete || !record.saes.contains(sae)) continue;
      const fs::path folder = folder_.checkpoints(sae) / record.folder;
      const std::string expected = recorded_metrics(read_trainer_metadata(folder), folder) + "\n";
      if (found.compare(at, expected.size(), expected) != 0)
        throw Damaged("{}: the line of {} is not what its state.json says", file.string(),
                      record.folder);
      at += expected.size();
    }
    if (std::count(found.begin() + static_cast<std::ptrdiff_t>(at), found.end(), '\n') > 1)
      throw Damaged("{} has lines that no checkpoint has", file.string());
  }

  void add_finished() {
    for (const auto& [key, recorded] : state_.finished) {
      const std::string digest = recorded.substr(recorded.rfind(':') + 1);
      const std::string sae = key.substr(key.find('/') + 1);  // or a hook
      if (key.starts_with("evaluate/"))
        add_part(evaluated_part(folder_, sae), digest);
      else if (key.starts_with("statistics/"))
        add_part(statistics_part(folder_, sae), digest);
      else if (key.starts_with("probe/"))
        add_part(probed_part(folder_, sae), digest);
      else if (key == "report")
        add_report(digest);
    }
  }

  void add_part(const Part& part, const std::string& digest) {
    add(part.file, [part, digest] { expect_recorded(part.file, digest, part.content()); });
  }

  // `refract report --set report.file=...` writes another report than run.yaml names: the ledger's
  // is any page of the run that has the digest.
  void add_report(const std::string& digest) {
    if (!frozen_) return;
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(folder_.root, ignored))
      if (entry.path().extension() == ".html" && short_digest(read_file(entry.path())) == digest)
        return add(entry.path(), [] {});
    add_part(reported_part(frozen_->config, folder_), digest);
  }

  void add_model() {
    if (!frozen_ || frozen_->inputs.model_digest.empty()) return;
    fs::path folder;
    try {
      folder = model_folder(frozen_->config);
    } catch (const Error&) {  // moved, or not on this machine
      return;
    }
    add(folder, [folder, digest = frozen_->inputs.model_digest] {
      const std::string found =
          model_digest(folder, [](const fs::path& file) { return sha256_of_file(file, tick); });
      if (found != digest)
        throw Damaged("{} is not the model of the run: its content has digest {}, was {}",
                      folder.string(), found, digest);
    });
  }

  RunState state_;
  RunFolder folder_;
  std::optional<FrozenRun> frozen_;
  std::vector<RecordedFile> files_;
};

}  // namespace

std::vector<RecordedFile> recorded_files(const fs::path& run) { return Recorder(run).files(); }

}  // namespace refract
