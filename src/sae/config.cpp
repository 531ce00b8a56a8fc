#include "refract/sae/config.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "refract/base/error.hpp"
#include "refract/sae/normaliser.hpp"
#include "sae/penalty.hpp"
#include "sae/variant_table.hpp"

namespace refract {
namespace {

struct Own {
  OwnSetting setting;
  std::string_view name;
  bool (*given)(const SaeConfig& config);  // its value is not the default
  std::string (*value)(const SaeConfig& config);
};
const SaeConfig kDefault{};
constexpr Own kOwn[] = {
    {OwnSetting::k, "k", [](const SaeConfig& c) { return c.k != kDefault.k; },
     [](const SaeConfig& c) { return fmt::to_string(c.k); }},
    {OwnSetting::k, "k_start", [](const SaeConfig& c) { return c.k_start != kDefault.k_start; },
     [](const SaeConfig& c) { return fmt::to_string(c.k_start); }},
    {OwnSetting::k, "k_decay", [](const SaeConfig& c) { return c.k_decay != kDefault.k_decay; },
     [](const SaeConfig& c) { return fmt::to_string(c.k_decay); }},
    {OwnSetting::aux, "aux.coefficient",
     [](const SaeConfig& c) { return c.aux.coefficient != kDefault.aux.coefficient; },
     [](const SaeConfig& c) { return fmt::to_string(c.aux.coefficient); }},
    {OwnSetting::aux, "aux.k", [](const SaeConfig& c) { return c.aux.k != kDefault.aux.k; },
     [](const SaeConfig& c) { return fmt::to_string(c.aux.k); }},
    {OwnSetting::threshold_rate, "threshold_rate",
     [](const SaeConfig& c) { return c.threshold_rate != kDefault.threshold_rate; },
     [](const SaeConfig& c) { return fmt::to_string(c.threshold_rate); }},
    {OwnSetting::jumprelu, "jumprelu.threshold",
     [](const SaeConfig& c) { return c.jumprelu.threshold != kDefault.jumprelu.threshold; },
     [](const SaeConfig& c) { return fmt::to_string(c.jumprelu.threshold); }},
    {OwnSetting::jumprelu, "jumprelu.bandwidth",
     [](const SaeConfig& c) { return c.jumprelu.bandwidth != kDefault.jumprelu.bandwidth; },
     [](const SaeConfig& c) { return fmt::to_string(c.jumprelu.bandwidth); }},
    {OwnSetting::prefixes, "prefixes", [](const SaeConfig& c) { return !c.prefixes.empty(); },
     [](const SaeConfig& c) { return fmt::format("[{}]", fmt::join(c.prefixes, ", ")); }},
};

bool has(const VariantRow& row, OwnSetting setting) {
  return std::ranges::find(row.own, setting) != row.own.end();
}

void refuse_foreign_settings(const SaeConfig& config, std::string_view where) {
  const VariantRow& row = variant_row(config);
  for (const Own& own : kOwn) {
    if (has(row, own.setting) || !own.given(config)) continue;
    std::vector<std::string_view> owners;
    for (const VariantRow& other : variant_rows())
      if (has(other, own.setting)) owners.push_back(other.name);
    throw ConfigError(
        "{}.{} is {}, but variant {} has no such setting (of: {}). Leave it out, or at {}.", where,
        own.name, own.value(config), config.variant, fmt::join(owners, ", "), own.value(kDefault));
  }
}

void check_resampling(const SaeConfig& config, std::string_view where) {
  const ResampleConfig &c = config.resample, &unset = kDefault.resample;
  if (c.every_steps == 0) {
    if (c.until != unset.until || c.scale != unset.scale)
      throw ConfigError(
          "{}.resample gives numbers, but every_steps is 0, which switches it off. Give "
          "every_steps, e.g. 25000, or leave them out.",
          where);
    return;
  }
  if (has(variant_row(config), OwnSetting::aux) && config.aux.coefficient != 0)
    throw ConfigError(
        "{}.resample.every_steps is {}, but AuxK revives dead features of this SAE already. Set "
        "aux.coefficient to 0, or leave resample out.",
        where, c.every_steps);
  if (!(c.until > 0 && c.until <= 1))
    throw ConfigError("{}.resample.until is {}; expected a share of all steps in (0, 1], e.g. 0.5.",
                      where, c.until);
  if (!(c.scale > 0) || !std::isfinite(c.scale))
    throw ConfigError("{}.resample.scale is {}; expected a positive number, e.g. 0.2.", where,
                      c.scale);
}

}  // namespace

DecoderRule decoder_rule(const SaeConfig& config) {
  return {.non_negative = config.non_negative_decoder, .free_norm = config.decoder_norm == "free"};
}

std::size_t largest_k(const SaeConfig& config) { return std::max(config.k, config.k_start); }

std::string hook_text(const SaeConfig& config) {
  return fmt::format("{}", fmt::join(config.hooks, "+"));
}

std::vector<std::string> target_hooks(const SaeConfig& config) {
  if (config.target_hook.empty()) return config.hooks;
  return {config.target_hook};
}

const std::string& only_hook(const SaeConfig& config) {
  REFRACT_ASSERT(config.hooks.size() == 1, "SAE '{}' reads {}", config.name, hook_text(config));
  return config.hooks.front();
}

std::string only_target_hook(const SaeConfig& config) {
  return is_transcoder(config) ? config.target_hook : only_hook(config);
}

bool is_transcoder(const SaeConfig& config) { return target_hooks(config) != config.hooks; }

void check(const SaeConfig& config, std::string_view where) {
  if (config.name.empty() || config.name.find_first_of("/\\ ") != std::string::npos)
    throw ConfigError("{}.name is \"{}\"; expected a folder name without spaces and slashes.",
                      where, config.name);
  if (config.d_sae == 0)
    throw ConfigError("{}.d_sae is 0. Give the number of features, e.g. 4096.", where);
  // Features are numbered by 32 bits, and BLAS on a GPU counts them by an int.
  if (config.d_sae > std::numeric_limits<std::int32_t>::max())
    throw ConfigError("{}.d_sae is {}; at most {} features can be numbered.", where, config.d_sae,
                      std::numeric_limits<std::int32_t>::max());
  if (!(config.aux.coefficient >= 0) || !std::isfinite(config.aux.coefficient))
    throw ConfigError(
        "{}.aux.coefficient is {}; expected 0 (off) or a positive number, e.g. 0.03125.", where,
        config.aux.coefficient);
  if (is_transcoder(config) && !restores_other_rows(config.normalize))
    throw ConfigError(
        "{}.normalize is {}, but what a transcoder makes cannot be put back: mean and std of the "
        "target's rows are not in the rows that it reads. Set it to sqrt_d or whiten.",
        where, config.normalize);
  if (config.hooks.size() > 1 && !takes_several_hooks(config.normalize))
    throw ConfigError(
        "{}.normalize is {}, which is of one hook, but hook names {}. Set it to sqrt_d.", where,
        config.normalize, config.hooks.size());
  if (!(config.ema >= 0 && config.ema < 1))
    throw ConfigError("{}.ema is {}; expected 0 (off) or a decay a step in (0, 1), e.g. 0.999.",
                      where, config.ema);
  refuse_foreign_settings(config, where);
  check_resampling(config, where);
  const auto expect_one_of = [&](std::string_view setting, const std::string& value,
                                 std::initializer_list<std::string_view> known) {
    if (std::ranges::find(known, value) == known.end())
      throw ConfigError("{}.{} is \"{}\"; expected {}.", where, setting, value,
                        fmt::join(known, " or "));
  };
  expect_one_of("decoder_norm", config.decoder_norm, {"unit", "free"});
  expect_one_of("b_dec", config.b_dec, {"median", "mean", "zero"});
  check_penalty(config, where);
  variant_row(config).check(config, where);
}

void check_batch_selection(const SaeConfig& config, std::string_view where) {
  check_k(config, where);
  if (!(config.threshold_rate > 0 && config.threshold_rate <= 1))
    throw ConfigError("{}.threshold_rate is {}; expected a number in (0, 1], e.g. 0.01.", where,
                      config.threshold_rate);
}

void expect_penalty(const SaeConfig& config, std::string_view example, std::string_view where) {
  if (Penalty(config).is_none())
    throw ConfigError(
        "{}.penalty has no kind, but nothing else makes variant {} sparse. Give one, e.g. penalty: "
        "{}.",
        where, config.variant, example);
}

void check_k(const SaeConfig& config, std::string_view where) {
  if (config.k == 0)
    throw ConfigError("{}.k is 0. Give the number of active features per row, e.g. 32.", where);
  if (config.k > config.d_sae)
    throw ConfigError("{}.k is {} but d_sae is {}. Lower k or raise d_sae.", where, config.k,
                      config.d_sae);
  if (config.k_start == 0 && config.k_decay != kDefault.k_decay)
    throw ConfigError(
        "{}.k_decay is {}, but no k_start falls to k. Give one, e.g. {}, or leave it "
        "out.",
        where, config.k_decay, std::min(config.d_sae, 4 * config.k));
  if (config.k_start == 0) return;
  if (config.k_start <= config.k || config.k_start > config.d_sae)
    throw ConfigError(
        "{}.k_start is {}; expected a number above k {} and at most d_sae {}, or 0 (off).", where,
        config.k_start, config.k, config.d_sae);
  if (!(config.k_decay > 0 && config.k_decay <= 1))
    throw ConfigError("{}.k_decay is {}; expected a share of all steps in (0, 1], e.g. 0.1.", where,
                      config.k_decay);
}

void check(const OptimizerConfig& config, std::string_view where) {
  const auto fits = [](double value) {
    return value >= 0 && (value <= 1 || (std::isfinite(value) && value == std::floor(value)));
  };
  if (!(config.lr > 0) || !std::isfinite(config.lr))
    throw ConfigError("{}.lr is {}; expected a positive number, e.g. 1e-3.", where, config.lr);
  const bool shares = config.warmup <= 1 && config.decay <= 1;
  if (!fits(config.warmup) || !fits(config.decay) || (shares && config.warmup + config.decay > 1))
    throw ConfigError(
        "{}.warmup is {} and decay is {}; expected shares of all steps that sum to at most 1, or "
        "whole numbers of steps above 1.",
        where, config.warmup, config.decay);
  if (!(config.floor >= 0 && config.floor < 1))
    throw ConfigError("{}.floor is {}; expected a share of lr in [0, 1), e.g. 0.1.", where,
                      config.floor);
  if (config.decay == 0 && (config.floor != 0 || config.cosine))
    throw ConfigError(
        "{}.schedule is {} and floor is {}, but decay is 0, so the rate never falls. Give decay a "
        "share of all steps, e.g. 0.2, or leave them out.",
        where, config.cosine ? "cosine" : "linear", config.floor);
  if (!(config.beta1 >= 0 && config.beta1 < 1) || !(config.beta2 >= 0 && config.beta2 < 1))
    throw ConfigError("{}.beta1 is {} and beta2 is {}; expected numbers in [0, 1).", where,
                      config.beta1, config.beta2);
  if (!(config.epsilon > 0))
    throw ConfigError("{}.epsilon is {}; expected a positive number.", where, config.epsilon);
}

}  // namespace refract
