#pragma once
// run.yaml: the resolved configuration and what computes, chosen once and frozen (SPEC 6).
#include <filesystem>
#include <string>

#include "refract/pipeline/run_config.hpp"

namespace refract {

struct Numerics {
  std::string gemm;      // library, version, kernels
  std::string exchange;  // all_reduce | sharded
  std::string reduction;
  std::uint64_t ranks = 1;
};

[[nodiscard]] Numerics current_numerics(const RunConfig& config, int ranks);
// The first thing that would change bytes, as "gemm: was ..., is now ...", or empty. Under
// `ordered` ranks and exchange may change.
[[nodiscard]] std::string numerics_difference(const Numerics& frozen, const Numerics& now,
                                              const RunConfig& config);

struct FrozenRun {
  RunConfig config;
  Numerics numerics;
};
[[nodiscard]] FrozenRun read_frozen(const std::filesystem::path& run_yaml);
[[nodiscard]] std::string frozen_text(const RunConfig& config, const Numerics& numerics);

}  // namespace refract
