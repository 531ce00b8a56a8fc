#include "refract/pipeline/numerics.hpp"

#include <fmt/format.h>

#include "refract/base/build_info.hpp"
#include "refract/base/error.hpp"
#include "refract/ops/gemm.hpp"

namespace refract {

void describe(Fields& f, Numerics& n) {
  f.field("gemm", n.gemm, {.help = "library, version, kernels"});
  f.field("exchange", n.exchange, {.help = "between training ranks"});
  f.field("reduction", n.reduction, {.help = "fast | ordered"});
  f.field("ranks", n.ranks, {.help = "of the world"});
}

void describe(Fields& f, FrozenRun& run) {
  describe(f, run.config);
  f.nested("numerics", "what computes, frozen at the start", run.numerics);
}

Numerics current_numerics(const RunConfig& config, int ranks) {
  return {.gemm = gemm_backend_description(),
          .exchange = config.train.exchange == "sharded" ? "sharded" : "all_reduce",
          .reduction = config.train.reduction,
          .ranks = static_cast<std::uint64_t>(ranks)};
}

std::string numerics_difference(const Numerics& frozen, const Numerics& now,
                                const RunConfig& config) {
  const auto changed = [](const char* what, const auto& was, const auto& is) {
    return was == is ? std::string() : fmt::format("{}: was {}, is now {}", what, was, is);
  };
  std::string text = changed("gemm", frozen.gemm, now.gemm);
  if (text.empty() && config.train.reduction == "fast")
    text = changed("ranks", frozen.ranks, now.ranks);
  if (text.empty() && config.train.reduction == "fast")
    text = changed("exchange", frozen.exchange, now.exchange);
  return text;
}

FrozenRun read_frozen(const std::filesystem::path& run_yaml) {
  FrozenRun run;
  try {
    read_yaml(run_yaml.string(), {}, [&](Fields& f) { describe(f, run); });
  } catch (const ConfigError& error) {
    throw DataError(
        "{} cannot be read ({}). It is written by refract; give this run another folder.",
        run_yaml.string(), error.what());
  }
  return run;
}

std::string frozen_text(const RunConfig& config, const Numerics& numerics) {
  FrozenRun run{config, numerics};
  return fmt::format(
      "# Written by refract {}: the resolved configuration of this run. Not to be edited.\n{}",
      kVersion, print_yaml([&](Fields& f) { describe(f, run); }));
}

}  // namespace refract
