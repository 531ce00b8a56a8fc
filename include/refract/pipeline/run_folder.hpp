#pragma once
// The folder of a run: names, and `status`, which job scripts read.
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace refract {

struct RunFolder {
  std::filesystem::path root;
  std::filesystem::path store;  // <run>/<model>_activations

  // Of the store's folder: frozen with it, whatever the model's folder is called now.
  [[nodiscard]] std::string model_name() const;
  [[nodiscard]] std::filesystem::path run_yaml() const { return root / "run.yaml"; }
  [[nodiscard]] std::filesystem::path lock() const { return root / "run.lock"; }
  [[nodiscard]] std::filesystem::path status() const { return root / "status"; }
  [[nodiscard]] std::filesystem::path progress() const { return root / "progress.json"; }
  // What `refract submit` writes, and in it the name of the job last submitted.
  [[nodiscard]] std::filesystem::path submission() const { return root / "submit"; }
  [[nodiscard]] std::filesystem::path submitted_job() const { return submission() / "job"; }
  [[nodiscard]] std::filesystem::path ledger() const { return root / "ledger.jsonl"; }
  [[nodiscard]] std::filesystem::path calibration() const { return store / "calibration.h5"; }
  [[nodiscard]] std::filesystem::path heldout() const { return store / "heldout.h5"; }
  [[nodiscard]] std::filesystem::path evidence() const { return store / "evidence.h5"; }
  [[nodiscard]] std::filesystem::path chunk_list() const { return store / "chunks.jsonl"; }
  [[nodiscard]] std::filesystem::path corpus() const { return root / "corpus.json"; }
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
  [[nodiscard]] std::filesystem::path statistics(const std::string& hook) const {
    return root / "statistics" / (hook + ".json");
  }
  [[nodiscard]] std::filesystem::path features(const std::string& name) const {
    return root / "features" / (name + ".h5");
  }
};

inline constexpr const char* kStoreSuffix = "_activations";
// "/" in a model's name is written "--".
[[nodiscard]] RunFolder run_folder(const std::filesystem::path& run, const std::string& model_name);
[[nodiscard]] std::string model_display_name(const std::string& model_setting);

// How the last attempt that owned the run stands or ended; job scripts read it. One line:
//   WORD JOB ATTEMPT [CODE TEXT]
// WORD: running | resume (stopped on request: start again) | done (TEXT: the command that is) |
// stuck (stopped on request before anything was made) | failed. CODE: the exit code.
struct RunStatus {
  std::string word, job;
  std::uint64_t attempt = 0;
  int code = 0;
  std::string text;
};
[[nodiscard]] std::string to_text(const RunStatus& status);
// Whole under its name; where the disk is full it overwrites the old line in place.
void write_status(const std::filesystem::path& file, const RunStatus& status);
// Nothing when absent or not such a line.
[[nodiscard]] std::optional<RunStatus> read_status(const std::filesystem::path& file);

[[nodiscard]] std::string job_name();  // slurm-<job>, slurm-<array>_<task>, or pid-<n>
// The name of the job last submitted (RunFolder::submitted_job); empty: none was. DataError when it
// cannot be read.
[[nodiscard]] std::string read_submitted_job(const RunFolder& folder);
// As squeue takes it: 4711 of "slurm-4711"; empty: not a job of Slurm.
[[nodiscard]] std::string slurm_id(const std::string& job);
[[nodiscard]] std::uint64_t bytes_below(const std::filesystem::path& folder);

}  // namespace refract
