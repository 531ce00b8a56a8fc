#include "refract/metrics/advice.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "metrics/advice_file.hpp"
#include "refract/base/digest.hpp"
#include "refract/base/error.hpp"
#include "refract/config/fields.hpp"
#include "refract/metrics/metric_table.hpp"

namespace refract {
namespace {

// Besides those of the table.
constexpr std::string_view kOtherMetrics[] = {"dead_training",
                                              "decoder_cosine_mean",
                                              "decoder_cosine_p95",
                                              "decoder_cosine_abs_p95",
                                              "decoder_cosine_max",
                                              "nearest_cosine_mean",
                                              "nearest_cosine_p50",
                                              "nearest_cosine_p95",
                                              "near_duplicates",
                                              "ce_clean",
                                              "ce_sae",
                                              "ce_zero",
                                              "ce_mean",
                                              "delta_ce",
                                              "ce_recovered_zero",
                                              "ce_recovered_mean",
                                              "kl_sae",
                                              "kl_zero",
                                              "kl_mean",
                                              "kl_score_zero",
                                              "kl_score_mean"};

constexpr std::int64_t kVersion = 1;

void optional_field(Fields& f, std::string_view key, std::optional<double>& value,
                    const FieldInfo& info) {
  double number = value.value_or(std::numeric_limits<double>::quiet_NaN());
  f.field(key, number, info);
  if (!std::isnan(number)) value = number;
}

}  // namespace

// One description per struct; found by argument-dependent lookup, so not in an anonymous namespace.

void describe(Fields& f, AdviceRange& r) {
  optional_field(f, "low", r.low, {.help = "the least; absent: no bound"});
  optional_field(f, "high", r.high, {.help = "the most; absent: no bound"});
}

void describe(Fields& f, AdviceFix& c) {
  f.field("for", c.variants, {.help = "variants of SAE; absent: every other"});
  f.field("do", c.text, {.help = "what to change, by the names of settings"});
}

void describe(Fields& f, AdviceComparison& c) {
  f.field("with", c.with,
          {.help = "<metric>, <baseline>.<metric>, control.<metric> or chance.<metric>"});
  f.field("expected", c.expected, {.help = "of this metric", .allowed = {"at_least", "at_most"}});
  f.field("otherwise", c.otherwise, {.help = "the verdict", .allowed = {"watch", "red"}});
}

void describe(Fields& f, AdviceRule::Validity& v) {
  f.nested("expansion", "of d_sae / d_in", v.expansion);
  f.nested("rows", "of the rows evaluated", v.rows);
  f.field("variants", v.variants, {.help = "absent: all"});
  f.field("why", v.why, {.help = "why there is no verdict beyond"});
}

void describe(Fields& f, AdviceRule::Field& c) {
  describe(f, c.range);
  f.field("source", c.source, {.help = "which SAEs, and where that is said"});
}

void describe(Fields& f, AdviceRule& r) {
  f.field("metric", r.metric, {.help = "its name in evaluation.json"});
  f.field("title", r.title, {.help = "its name for readers"});
  f.field("meaning", r.meaning, {.help = "one sentence: what it is, and what of it is good"});
  f.field("id", r.id, {.help = "of the rule, which verdicts cite; absent: no verdict"});
  f.field("basis", r.basis,
          {.help = "what bounds apply to: the value, value / d_sae, or (value - chance) / "
                   "(1 - chance), chance being that of a random dictionary",
           .allowed = {"value", "per_feature", "above_chance"}});
  f.nested("good", "outside: watch", r.good);
  optional_field(f, "red_below", r.red_below, {.help = "too low from there down"});
  optional_field(f, "red_above", r.red_above, {.help = "too high from there up"});
  f.list(
      "compare", "with other numbers of the same evaluation", r.compare.size(),
      [&](std::size_t n) { r.compare.resize(n); },
      [&](Fields& inner, std::size_t i) { describe(inner, r.compare[i]); });
  f.nested("valid", "where the rule holds", r.valid);
  f.nested("field", "what published SAEs show, which is never red", r.field);
  f.field("control", r.control,
          {.help = "same_side: watch, not red, where the frozen-random control is as red",
           .allowed = {"none", "same_side"}});
  optional_field(f, "near_chance", r.near_chance,
                 {.help = "said to be near chance up to this multiple of it", .at_least = 1});
  f.field("see", r.see, {.help = "metrics whose verdicts explain this one"});
  const auto fixes = [&](std::string_view key, std::string_view help,
                         std::vector<AdviceFix>& list) {
    f.list(
        key, help, list.size(), [&](std::size_t n) { list.resize(n); },
        [&](Fields& inner, std::size_t i) { describe(inner, list[i]); });
  };
  fixes("too_high", "fixes; the first for the variant is given", r.too_high);
  fixes("too_low", "fixes; the first for the variant is given", r.too_low);
}

namespace {

struct AdviceFile {
  std::int64_t version = 0;
  std::vector<AdviceRule> rules;
};

void describe_file(Fields& f, AdviceFile& file) {
  f.field("advice", file.version, {.help = "version of this format"});
  f.list(
      "metrics", "one entry each", file.rules.size(), [&](std::size_t n) { file.rules.resize(n); },
      [&](Fields& inner, std::size_t i) { describe(inner, file.rules[i]); });
}

bool is_metric(std::string_view name) {
  return std::ranges::find(advised_metrics(), name) != advised_metrics().end();
}

// What cannot be said by a field alone; `where(key)` is the place of a key of this rule.
template <typename Where>
void check_rule(const AdviceRule& r, const Where& where) {
  const auto expect_metric = [&](std::string_view key, std::string_view text,
                                 std::string_view name) {
    if (!is_metric(name))
      throw ConfigError("{}: {} is '{}', but no metric is called '{}'. The metrics are: {}",
                        where(key), key, text, name, fmt::join(advised_metrics(), ", "));
  };
  expect_metric("metric", r.metric, r.metric);
  for (const std::string& metric : r.see) expect_metric("see", metric, metric);
  if (r.title.empty() || r.meaning.empty())
    throw ConfigError("{}: the metric '{}' has no {}. Give it a text.", where(""), r.metric,
                      r.title.empty() ? "title" : "meaning");
  const auto expect_order = [&](std::string_view key, std::optional<double> less,
                                std::optional<double> more, std::string_view rule) {
    if (less && more && *less > *more)
      throw ConfigError("{}: {} found {} before {}; expected {}", where(key), key, *less, *more,
                        rule);
  };
  expect_order("good", r.good.low, r.good.high, "low at most high");
  expect_order("valid.expansion", r.valid.expansion.low, r.valid.expansion.high,
               "low at most high");
  expect_order("valid.rows", r.valid.rows.low, r.valid.rows.high, "low at most high");
  expect_order("field", r.field.range.low, r.field.range.high, "low at most high");
  expect_order("red_below", r.red_below, r.good.low, "red_below at most good.low");
  expect_order("red_above", r.good.high, r.red_above, "red_above at least good.high");
  for (std::size_t i = 0; i < r.compare.size(); ++i) {
    const std::string& with = r.compare[i].with;
    const std::size_t dot = with.rfind('.');
    expect_metric(fmt::format("compare.{}.with", i), with,
                  dot == std::string::npos ? with : std::string_view(with).substr(dot + 1));
  }
  const bool bounds = r.good.low || r.good.high || r.red_below || r.red_above || !r.compare.empty();
  if (bounds && r.id.empty())
    throw ConfigError("{}: the metric '{}' has bounds but no id. Give it one: verdicts cite it.",
                      where(""), r.metric);
  if (!bounds && !r.id.empty())
    throw ConfigError(
        "{}: the rule '{}' has no bounds (good, red_below, red_above, compare). Give it one, or "
        "leave the id out: then the meaning alone is shown.",
        where("id"), r.id);
  const auto expect_last = [&](std::string_view key, const std::vector<AdviceFix>& fixes) {
    for (std::size_t i = 0; i < fixes.size(); ++i) {
      if (fixes[i].text.empty())
        throw ConfigError("{}: a fix without 'do'. Say what to change.",
                          where(fmt::format("{}.{}", key, i)));
      if (fixes[i].variants.empty() && i + 1 < fixes.size())
        throw ConfigError(
            "{}: a fix without 'for' is for every variant, so those after it are never given. Put "
            "it last.",
            where(fmt::format("{}.{}", key, i)));
    }
  };
  expect_last("too_high", r.too_high);
  expect_last("too_low", r.too_low);
}

void check_file(const AdviceFile& file, const Origins& origins, const std::string& origin) {
  if (file.version != kVersion)
    throw ConfigError(
        "{}: advice is {}; this version reads 1. Write 'advice: 1' if this is a file "
        "of rules of advice.",
        file.version == 0 ? origin : origins.of("advice"), file.version);
  std::set<std::string> metrics, ids;
  for (std::size_t i = 0; i < file.rules.size(); ++i) {
    const AdviceRule& rule = file.rules[i];
    const auto where = [&](std::string_view key) {
      const std::string entry = fmt::format("metrics.{}", i);
      return origins.of(key.empty() ? entry : fmt::format("{}.{}", entry, key));
    };
    check_rule(rule, where);
    if (!metrics.insert(rule.metric).second)
      throw ConfigError("{}: the metric '{}' has an entry already. Keep one.", where("metric"),
                        rule.metric);
    if (rule.judges() && !ids.insert(rule.id).second)
      throw ConfigError("{}: the id '{}' is another rule's. Give each its own.", where("id"),
                        rule.id);
  }
}

}  // namespace

std::span<const std::string_view> advised_metrics() {
  static const std::vector<std::string_view> kAll = [] {
    std::vector<std::string_view> names;
    for (const MetricRow& metric : metric_table()) names.push_back(metric.name);
    names.insert(names.end(), std::begin(kOtherMetrics), std::end(kOtherMetrics));
    return names;
  }();
  return kAll;
}

std::string_view Advice::text() { return advice_file(); }

Advice Advice::load(const std::string& file) {
  if (file.empty()) return from_text(std::string(text()), "configs/advice.yaml (built in)");
  return from_text(read_configuration_file(file), file);
}

Advice Advice::from_text(const std::string& text, const std::string& origin) {
  AdviceFile file;
  const Origins origins =
      read_yaml_text(text, origin, {}, [&](Fields& f) { describe_file(f, file); });
  check_file(file, origins, origin);
  Advice advice;
  advice.rules_ = std::move(file.rules);
  return advice;
}

const AdviceRule* Advice::find(std::string_view metric) const {
  const auto found = std::ranges::find(rules_, metric, &AdviceRule::metric);
  return found == rules_.end() ? nullptr : &*found;
}

std::string Advice::digest() const {
  AdviceFile file{kVersion, rules_};
  Sha256 digest;
  for (const auto& [key, value] : flatten([&](Fields& f) { describe_file(f, file); })) {
    digest.add(key);
    digest.add("=");
    digest.add(value);
    digest.add("\n");
  }
  return digest.hex().substr(0, 16);
}

}  // namespace refract
