#include "refract/pipeline/numerics.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "refract/base/build_info.hpp"
#include "refract/base/error.hpp"
#include "refract/ops/gemm.hpp"
#include "refract/pipeline/training_layout.hpp"

namespace refract {

void describe(Fields& f, Numerics& n) {
  f.field("device", n.device, {.help = "cpu | cuda"});
  f.field("gemm", n.gemm, {.help = "library, version, kernels"});
  f.field("exchange", n.exchange, {.help = "between training ranks"});
  f.field("wire", n.wire, {.help = "what gradients travel as"});
  f.field("mesh", n.mesh, {.help = "groups and mesh of the training ranks"});
  f.field("reduction", n.reduction, {.help = "fast | ordered"});
  f.field("ranks", n.ranks, {.help = "that train"});
}

void describe(Fields& f, FrozenInputs& inputs) {
  f.field("model_name", inputs.model_name, {.help = "of the store's folder"});
  f.field("model_digest", inputs.model_digest, {.help = "of config.json and the weights"});
  f.field("advice", inputs.advice, {.help = "digest of the rules of evaluate.advice"});
}

void describe(Fields& f, FrozenRun& run) {
  describe(f, run.config);
  f.nested("inputs", "what they are by content, frozen with the store", run.inputs);
  f.nested("numerics", "what computes, frozen at the start", run.numerics);
}

Numerics current_numerics(const RunConfig& config, const ModelInfo& model, int ranks) {
  const TrainingLayout layout = training_layout(config, model, std::max(1, ranks));
  return {.gemm = gemm_backend_description(),
          .exchange = layout.exchange,
          .wire = config.train.wire,
          .mesh = fmt::format("{} x {} in {} group(s)", layout.mesh.rows, layout.mesh.features,
                              layout.groups),
          .reduction = config.train.reduction,
          .ranks = static_cast<std::uint64_t>(ranks)};
}

std::string training_difference(const Numerics& frozen, const Numerics& now) {
  if (now.reduction == "ordered" && frozen.reduction == "ordered") return "";
  if (frozen.device != now.device)
    return fmt::format("device of training: was {}, is now {}", frozen.device, now.device);
  if (frozen.ranks != now.ranks)
    return fmt::format("training ranks: were {}, are now {}", frozen.ranks, now.ranks);
  if (frozen.exchange != now.exchange)
    return fmt::format("exchange: was {}, is now {}", frozen.exchange, now.exchange);
  if (frozen.wire != now.wire) return fmt::format("wire: was {}, is now {}", frozen.wire, now.wire);
  if (!frozen.mesh.empty() && frozen.mesh != now.mesh)
    return fmt::format("mesh: was {}, is now {}", frozen.mesh, now.mesh);
  return "";
}

FrozenRun read_frozen(const std::filesystem::path& run_yaml) {
  FrozenRun run;
  try {
    read_yaml(run_yaml.string(), {}, [&](Fields& f) { describe(f, run); });
  } catch (const ConfigError& error) {
    throw DataError(
        "{} cannot be read ({}). Restore it from a copy, or remove it: the run then goes on with "
        "the configuration that is given, which must be the one it was begun with.",
        run_yaml.string(), error.what());
  }
  return run;
}

std::string frozen_text(const FrozenRun& run) {
  FrozenRun copy = run;
  return fmt::format(
      "# Written by refract {}: the resolved configuration of this run. Not to be edited.\n{}",
      kVersion, print_yaml([&](Fields& f) { describe(f, copy); }));
}

}  // namespace refract
