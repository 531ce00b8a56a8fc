#include "refract/pipeline/disk_plan.hpp"

#include <algorithm>

#include "refract/base/dtype.hpp"
#include "refract/base/error.hpp"
#include "refract/base/progress.hpp"
#include "refract/store/chunk.hpp"

namespace refract {
namespace {

ChunkSpec spec_of(const RunConfig& config, const ModelInfo& model, std::uint64_t rows) {
  ChunkSpec spec{.rows = rows,
                 .block_rows = config.store.block_rows,
                 .dtype = dtype_from_name(config.store.dtype),
                 .hooks = {},
                 .parents = {}};
  for (const std::string& hook : config.hooks) spec.hooks.push_back({hook, model.d_model});
  return spec;
}

constexpr std::uint64_t kFeatureBytes =
    12'000;  // of features/<name>.h5 and the report, per feature, generous

}  // namespace

std::uint64_t kept_exports(const KeepRule& rule, std::uint64_t visits) {
  switch (rule.kind) {
    case KeepRule::Kind::spread: return std::min(visits, KeepRule::kSpread);
    case KeepRule::Kind::last: return std::min(visits, rule.n);
    case KeepRule::Kind::every: return visits / rule.n;
    case KeepRule::Kind::all: break;
  }
  return visits;
}

std::uint64_t parameter_bytes(const SaeConfig& sae) { return 4 * (sae.ema > 0 ? 4 : 3); }

std::uint64_t trainer_state_bytes(const SaeConfig& sae, const ModelInfo& model) {
  return parameter_bytes(sae) * sae_parameters(sae, model) + 8 * sae.d_sae;
}

std::uint64_t input_width(const SaeConfig& sae, const ModelInfo& model) {
  return sae.hooks.size() * model.d_model;
}

std::uint64_t target_width(const SaeConfig& sae, const ModelInfo& model) {
  return target_hooks(sae).size() * model.d_model;
}

std::uint64_t sae_parameters(const SaeConfig& sae, const ModelInfo& model) {
  const std::uint64_t d_in = input_width(sae, model), d_out = target_width(sae, model);
  return sae.d_sae * (d_in + 1 + d_out) + d_out;
}

std::uint64_t DiskPlan::fixed_bytes() const {
  std::uint64_t sum = 0;
  for (const auto& [name, bytes] : classes) sum += bytes;
  return sum;
}

DiskPlan plan_disk(const RunConfig& config, const ModelInfo& model, std::uint64_t corpus_bytes,
                   std::uint64_t chunks, std::uint64_t visits) {
  std::uint64_t states = 0, exports = 0, features = 0;
  for (const SaeConfig& sae : config.saes) {
    const std::uint64_t parameters = sae_parameters(sae, model);
    states +=
        4 * trainer_state_bytes(sae, model);  // two kept, one within a chunk, one being written
    exports += kept_exports(keep_rule(config), visits) * 2 * parameters + 2 * 4 * parameters;
    features += sae.d_sae * kFeatureBytes;
  }
  const std::uint64_t evidence = std::min(config.probe.tokens, chunks * config.store.chunk_rows);
  DiskPlan plan;
  plan.classes = {
      {"shards and tokens", corpus_bytes},
      {"held-out rows", estimated_chunk_bytes(spec_of(config, model, config.heldout.rows))},
      {"evidence rows", estimated_chunk_bytes(spec_of(config, model, evidence))},
      {"trainer states", states},
      {"SAELens folders", exports},
      {"features and report", features}};
  plan.chunk_bytes = estimated_chunk_bytes(spec_of(config, model, config.store.chunk_rows));
  plan.chunks_wanted = chunks;
  const std::uint64_t fixed = plan.fixed_bytes(), quota = config.disk.max_bytes.value;
  plan.chunks_allowed = quota > fixed ? (quota - fixed) / plan.chunk_bytes : 0;
  return plan;
}

void check_disk(const DiskPlan& plan, const RunConfig& config) {
  const std::uint64_t needed = config.store.mode == "keep" ? plan.chunks_wanted : 1;
  if (plan.chunks_allowed >= needed) return;
  throw ConfigError(
      "{}: disk.max_bytes is {}, but {} are needed: {} for everything else and {} for {} chunk(s) "
      "(store.mode {}). Raise disk.max_bytes or lower store.chunk_rows.",
      where_given(config, "disk.max_bytes"), human_bytes(config.disk.max_bytes.value),
      human_bytes(plan.fixed_bytes() + needed * plan.chunk_bytes), human_bytes(plan.fixed_bytes()),
      human_bytes(needed * plan.chunk_bytes), needed, config.store.mode);
}

}  // namespace refract
