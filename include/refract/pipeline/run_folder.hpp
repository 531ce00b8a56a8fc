#pragma once
// The folder of a run: names, the lock that keeps a second job out, and `status`, which job scripts
// read.
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace refract {

struct RunFolder {
  std::filesystem::path root;
  std::filesystem::path store;  // <run>/<model>_activations

  [[nodiscard]] std::filesystem::path run_yaml() const { return root / "run.yaml"; }
  [[nodiscard]] std::filesystem::path lock() const { return root / "run.lock"; }
  [[nodiscard]] std::filesystem::path status() const { return root / "status"; }
  [[nodiscard]] std::filesystem::path ledger() const { return root / "ledger.jsonl"; }
  [[nodiscard]] std::filesystem::path calibration() const { return store / "calibration.h5"; }
  [[nodiscard]] std::filesystem::path heldout() const { return store / "heldout.h5"; }
  [[nodiscard]] std::filesystem::path manifest() const { return store / "manifest.yaml"; }
  [[nodiscard]] std::filesystem::path chunk(std::uint64_t chunk) const;
  [[nodiscard]] std::filesystem::path sae(const std::string& name) const {
    return root / "saes" / name;
  }
  [[nodiscard]] std::filesystem::path checkpoints(const std::string& name) const {
    return sae(name) / "checkpoints";
  }
  [[nodiscard]] std::filesystem::path latest(const std::string& name) const {
    return sae(name) / "latest";
  }
  [[nodiscard]] std::filesystem::path metrics(const std::string& name) const {
    return sae(name) / "metrics.jsonl";
  }
  [[nodiscard]] std::filesystem::path timing(const std::string& name) const {
    return sae(name) / "timing.jsonl";
  }
  [[nodiscard]] std::filesystem::path evaluation(const std::string& name) const {
    return sae(name) / "evaluation.json";
  }
  [[nodiscard]] std::filesystem::path features(const std::string& name) const {
    return root / "features" / (name + ".h5");
  }
};

// "/" in a model's name is written "--".
[[nodiscard]] RunFolder run_folder(const std::filesystem::path& run, const std::string& model_name);
[[nodiscard]] std::string model_display_name(const std::string& model_setting);

// Held by one process of one job: an fcntl lock where the file system has them; where it has none,
// the record in the file (host, boot id, pid, job) and its heartbeat decide. SystemError names the
// owner.
class RunLock {
 public:
  RunLock(const std::filesystem::path& file, const std::string& job);
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;
  void heartbeat();  // cheap: touches the file at most every 20 s

 private:
  std::filesystem::path file_;
  int descriptor_ = -1;
  double touched_s_ = 0;
};

// One line: "running <job> <attempt>", "resume", "done", "stuck <cause>", "failed <code> <cause>".
void write_status(const std::filesystem::path& file, const std::string& line);
[[nodiscard]] std::string read_status(const std::filesystem::path& file);  // empty when absent

[[nodiscard]] std::string job_name();  // SLURM_JOB_ID, or pid-<n>
[[nodiscard]] std::uint64_t bytes_below(const std::filesystem::path& folder);

}  // namespace refract
