#include "sae/penalty.hpp"

#include <fmt/ranges.h>

#include <cmath>

#include "refract/base/error.hpp"
#include "sae/variant_table.hpp"

namespace refract {
namespace {

struct PenaltyRow {
  std::string_view name;
  PenaltyKind kind = PenaltyKind::none;
  bool counts = false;    // it is of the number of entries
  bool has_rate = false;  // target is a rate
  bool has_steepness = false;
  bool has_weight = false;  // by the decoder's norm
};
constexpr PenaltyRow kPenalties[] = {
    {.name = "none"},
    {.name = "l1", .kind = PenaltyKind::l1, .has_weight = true},
    {.name = "tanh", .kind = PenaltyKind::tanh, .has_steepness = true, .has_weight = true},
    {.name = "kl", .kind = PenaltyKind::rate, .has_rate = true, .has_steepness = true},
    {.name = "l0", .counts = true},
};

const PenaltyRow* find(std::string_view name) {
  for (const PenaltyRow& row : kPenalties)
    if (row.name == name) return &row;
  return nullptr;
}

}  // namespace

Penalty::Penalty(const SaeConfig& config)
    : config_(config.penalty), free_norm_(decoder_rule(config).free_norm) {
  const PenaltyRow* row = find(penalty_kind(config));
  REFRACT_ASSERT(row, "penalty {}", config.penalty.kind);
  kind_ = row->kind;
  counts_ = row->counts;
}

// Unit rows have norm 1, and the slope of a norm lies along the row and is projected out.
bool Penalty::needs_norms() const {
  return free_norm_ && config_.weighted && (kind_ == PenaltyKind::l1 || kind_ == PenaltyKind::tanh);
}

void Penalty::sum_rates(const RowEntries& entries, const Step& step) const {
  refract::sum_rates(entries, static_cast<float>(config_.steepness), step.batch.included,
                     step.buffers.rates.view(), step.stream);
}

void Penalty::finish_rates(const Step& step) const {
  rate_slopes(step.buffers.rates.cview(), config_.target, step.buffers.rate_slopes.view(),
              step.buffers.rate_penalty.view(), step.stream);
}

EntryPenalty Penalty::of_entries(const StepBuffers& buffers) const {
  return {.kind = kind_,
          .steepness = static_cast<float>(config_.steepness),
          .norms = buffers.norms.cview(),
          .slopes = buffers.rate_slopes.cview()};
}

void Penalty::weigh(std::uint64_t step, LossTerms& terms) const {
  const auto warmup = static_cast<double>(config_.warmup_steps), at = static_cast<double>(step + 1);
  const double coefficient = config_.coefficient * (at < warmup ? at / warmup : 1);
  if (kind_ != PenaltyKind::none) terms.penalty = coefficient;
  if (!counts_) return;
  terms.count = coefficient;
  terms.count_target = config_.target;
}

std::string_view penalty_kind(const SaeConfig& config) {
  if (config.penalty.kind != "auto") return config.penalty.kind;
  return variant_row(config).penalty;
}

std::vector<std::string_view> penalty_names() {
  std::vector<std::string_view> names{"auto"};
  for (const PenaltyRow& row : kPenalties) names.push_back(row.name);
  return names;
}

void check_penalty(const SaeConfig& config, std::string_view where) {
  const PenaltyConfig& c = config.penalty;
  const PenaltyConfig unset;
  const std::string_view kind = penalty_kind(config);
  const PenaltyRow* row = find(kind);
  if (!row)
    throw ConfigError("{}.penalty.kind is \"{}\"; known kinds: {}.", where, c.kind,
                      fmt::join(penalty_names(), ", "));
  const auto refuse = [&](std::string_view setting, double value, std::string_view why) {
    throw ConfigError("{}.penalty.{} is {}, but {}.", where, setting, value, why);
  };
  if (kind == "none") {
    if (c.coefficient != unset.coefficient || c.target != unset.target ||
        c.steepness != unset.steepness || c.warmup_steps != unset.warmup_steps)
      throw ConfigError(
          "{}.penalty gives numbers, but no kind, and variant {} has none of itself. Add kind: l1, "
          "tanh, kl or l0.",
          where, config.variant);
    return;
  }
  if (!(c.coefficient >= 0) || !std::isfinite(c.coefficient))
    refuse("coefficient", c.coefficient, "it must be a positive number, e.g. 5");
  if (!(c.steepness > 0) || !std::isfinite(c.steepness))
    refuse("steepness", c.steepness, "it must be a positive number, e.g. 4");
  if (!row->has_steepness && c.steepness != unset.steepness)
    refuse("steepness", c.steepness, fmt::format("kind {} has no such setting", kind));
  if (!row->has_weight && c.weighted != unset.weighted)
    throw ConfigError("{}.penalty.weighted is {}, but kind {} has no such setting.", where,
                      c.weighted, kind);
  if (row->has_rate && !(c.target > 0 && c.target < 1))
    refuse("target", c.target, "kl needs the firing rate to aim at, in (0, 1), e.g. 0.01");
  if (row->counts && !(c.target >= 0 && c.target <= static_cast<double>(config.d_sae)))
    refuse("target", c.target, "it must be a number of features per row, at most d_sae");
  if (!row->has_rate && !row->counts && c.target != unset.target)
    refuse("target", c.target, fmt::format("kind {} has no such setting", kind));
  if (row->counts && !trains_threshold(config))
    throw ConfigError(
        "{}.penalty.kind is l0, which moves thresholds, and variant {} trains none. Use variant "
        "jumprelu, or kind l1, tanh or kl.",
        where, config.variant);
}

}  // namespace refract
