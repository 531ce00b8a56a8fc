#pragma once
// One YAML file for every command (DESIGN section 7), read strictly, checked as a whole before
// anything runs.
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "refract/config/fields.hpp"
#include "refract/corpus/source.hpp"
#include "refract/order/sample_order.hpp"
#include "refract/pipeline/schedule.hpp"
#include "refract/sae/config.hpp"
#include "refract/stages/calibrate.hpp"
#include "refract/stages/evaluate.hpp"
#include "refract/stages/heldout.hpp"
#include "refract/stages/probe.hpp"
#include "refract/stages/report.hpp"
#include "refract/stages/token_corpus.hpp"
#include "refract/stages/train.hpp"

namespace refract {

struct ExtractConfig {
  std::string dtype = "fp32";  // of the model's forward pass
};

struct StoreConfig {
  std::string mode = "ring";   // ring: bounded disk, trained chunks may be evicted | keep: archive
  std::string dtype = "bf16";  // of stored activations: bf16 | fp32
  std::uint64_t chunk_rows = 131072;
  std::uint64_t block_rows = 1024;
  std::uint64_t seed = 1;
};

struct DiskConfig {
  Bytes max_bytes{std::uint64_t{100} << 30};  // of everything a run keeps, all classes together
};

// checkpoint.keep, read once. Checkpoints kept beyond what resuming needs (SAELens folders).
struct KeepRule {
  enum class Kind { spread, all, last, every };
  Kind kind = Kind::spread;
  std::uint64_t n = 0;                          // last: so many; every: so many visits apart
  static constexpr std::uint64_t kSpread = 32;  // folders of `spread`, at most
  friend bool operator==(const KeepRule&, const KeepRule&) = default;
};

struct CheckpointConfig {
  std::string keep = "spread";  // SAELens folders: spread (at most 32, evenly over the run) | all |
                                // N (the last N) | every m
  double every_s = 900;         // also within a chunk, and `latest`, after this many seconds
};

// What a batch job asks for; of `refract submit` and the plan. In no digest, and free to change.
struct SubmitConfig {
  std::string script = "auto";  // auto | single-node | multi-node | hetjob | chain
  std::uint32_t nodes = 1, ranks_per_node = 1;
  std::uint32_t cpus_per_rank = 0;  // 0 = as the site has it
  std::uint32_t gpus_per_node = 0;
  std::uint32_t cpu_nodes = 1, cpu_ranks = 2;  // hetjob: the component without GPUs
  Bytes memory{0};                             // of a node; 0 = as the site has it
  std::string time = "04:00:00";               // walltime of one attempt
  std::uint32_t signal_s = 300;                // SIGUSR1 so long before its end
  std::uint32_t max_attempts = 50;             // of one job, by requeue or chain
  double gflops = 0;                           // of one rank in fp32 products; 0 = measured here
  Bytes write_bytes_per_s{std::uint64_t{200'000'000}};  // to the disk, assumed in plans
};

struct RunConfig {
  std::string run = "runs/run";
  std::string data_root = "data";
  std::string device = "auto";  // auto | cpu | cuda
  std::string model;  // file:<folder>, or <owner>/<name>[@revision] in the local Hugging Face cache
  SourceConfig source;
  TokensConfig tokens;
  RowsConfig rows;
  std::vector<std::string> hooks;
  CalibrationConfig calibration;
  HeldoutConfig heldout;
  ExtractConfig extract;
  StoreConfig store;
  DiskConfig disk;
  TrainConfig train;
  std::vector<SaeConfig> saes;
  CheckpointConfig checkpoint;
  EvaluateConfig evaluate;
  ProbeConfig probe;
  ReportConfig report;
  PipelineConfig pipeline;
  SubmitConfig submit;
  Origins origins;  // of this very read; no setting
};

void describe(Fields& f, RunConfig& config);

// "configs/x.yaml:14", "--set saes.0.k", "train.recipe log" or "default", in the file that this
// configuration was read from.
[[nodiscard]] std::string where_given(const RunConfig& config, std::string_view dotted_key);

// What a command needs of a configuration: download and tokenize nothing of training.
enum class Asks { corpus, everything };

// Reads, applies --set, checks every combination that can be known without the model and the
// corpus. ConfigError, and NotBuilt for what the format has and this version lacks.
[[nodiscard]] RunConfig load_run_config(const std::string& file,
                                        const std::vector<std::string>& overrides,
                                        Asks asks = Asks::everything);
// The first words of run.yaml, which is no configuration to start from.
inline constexpr std::string_view kFrozenHead = "# Written by refract ";
[[nodiscard]] RunConfig run_config_from_text(const std::string& text, const std::string& origin);

[[nodiscard]] std::string to_yaml(const RunConfig& config);
[[nodiscard]] std::string settings_reference(
    const std::string& section);  // empty: all; ConfigError if unknown

[[nodiscard]] OrderRule order_rule(const RunConfig& config);
[[nodiscard]] std::uint64_t wanted_rows(const RunConfig& config);  // train.tokens; 0 = all
[[nodiscard]] double walltime_s(const SubmitConfig& submit);
[[nodiscard]] std::vector<std::string> sae_names(const RunConfig& config);
[[nodiscard]] KeepRule keep_rule(const RunConfig& config);
// ConfigError when model: is neither file:<folder> nor a name of the Hugging Face hub.
void check_model_setting(const RunConfig& config);
// The folder of the model: file:, or its snapshot in the local Hugging Face cache, which is looked
// for as huggingface_hub does (HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME, XDG_CACHE_HOME,
// ~/.cache). ConfigError when it is not there.
[[nodiscard]] std::filesystem::path model_folder(const RunConfig& config);
// As others know the model: the hub's <owner>/<name>; of file:, what config.json calls it
// (_name_or_path) where that could be a name of the hub, else `folder_name`.
[[nodiscard]] std::string model_public_name(const RunConfig& config,
                                            const std::string& name_or_path,
                                            const std::string& folder_name);

}  // namespace refract
