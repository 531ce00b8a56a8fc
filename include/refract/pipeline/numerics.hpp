#pragma once
// run.yaml: the resolved configuration, what the inputs are by content, and what computes, chosen
// once and frozen (SPEC 6).
#include <filesystem>
#include <string>

#include "refract/lm/language_model.hpp"
#include "refract/pipeline/run_config.hpp"

namespace refract {

struct Numerics {
  std::string device = "cpu";
  std::string gemm;      // library, version, kernels
  std::string exchange;  // all_reduce | sharded
  std::string wire = "fp32";
  std::string mesh;  // groups and mesh of the training ranks; empty: of an older refract
  std::string reduction;
  std::uint64_t ranks = 1;
};

[[nodiscard]] Numerics current_numerics(const RunConfig& config, const ModelInfo& model, int ranks);
// The first thing that would change the bytes of training, as "ranks: was ..., is now ...", or
// empty. Under `ordered` ranks and exchange may change. What a forward pass depends on (device,
// gemm) is compared by itself: it is the machine's, not the user's.
[[nodiscard]] std::string training_difference(const Numerics& frozen, const Numerics& now);

struct FrozenInputs {
  std::string model_name;    // of the store's folder; stays when the model's folder is renamed
  std::string model_digest;  // of config.json and the weights
  std::string advice;        // digest of the rules that the last start had
};

struct FrozenRun {
  RunConfig config;
  FrozenInputs inputs;
  Numerics numerics;
};
[[nodiscard]] FrozenRun read_frozen(const std::filesystem::path& run_yaml);
[[nodiscard]] std::string frozen_text(const FrozenRun& run);

}  // namespace refract
