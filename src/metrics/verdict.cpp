#include "refract/metrics/verdict.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "refract/base/error.hpp"

namespace refract {
namespace {

using Side = VerdictSide;
using State = VerdictState;

std::optional<double> find(const MetricValues& values, std::string_view name) {
  const auto found = values.find(name);
  return found == values.end() ? std::nullopt : std::optional(found->second);
}

// "control.r2" and "chance.r2" are of those; any other name is among the values.
std::optional<double> named(const MeasuredSae& sae, std::string_view name) {
  for (const auto& [prefix, values] :
       {std::pair<std::string_view, const MetricValues&>{"control.", sae.control},
        {"chance.", sae.chance}})
    if (name.starts_with(prefix)) return find(values, name.substr(prefix.size()));
  return find(sae.values, name);
}

bool holds(const AdviceRange& range, double value) {
  return !(range.low && value < *range.low) && !(range.high && value > *range.high);
}
bool given(const AdviceRange& range) { return range.low || range.high; }

bool names(const std::vector<std::string>& variants, const std::string& variant) {
  return variants.empty() || std::ranges::find(variants, variant) != variants.end();
}

std::string text_of(const AdviceRange& range) {
  if (range.low && range.high) return fmt::format("{:.4g} to {:.4g}", *range.low, *range.high);
  if (range.low) return fmt::format("at least {:.4g}", *range.low);
  return range.high ? fmt::format("at most {:.4g}", *range.high) : "";
}

std::string good_text(const AdviceRule& rule) {
  std::vector<std::string> parts;
  if (given(rule.good)) parts.push_back(text_of(rule.good));
  if (rule.red_below && !rule.good.low)
    parts.push_back(fmt::format("at least {:.4g}", *rule.red_below));
  if (rule.red_above && !rule.good.high)
    parts.push_back(fmt::format("at most {:.4g}", *rule.red_above));
  if (rule.basis == "per_feature" && !parts.empty()) parts.back() += " per feature";
  if (rule.basis == "above_chance" && !parts.empty())
    parts.back() += " of the way from chance to 1";
  for (const AdviceComparison& other : rule.compare)
    parts.push_back(
        fmt::format("{} {}", other.expected == "at_least" ? "at least" : "at most", other.with));
  return fmt::format("{}", fmt::join(parts, ", "));
}

// Why the rule says nothing of this SAE; empty where it does.
std::string out_of_validity(const AdviceRule& rule, const MeasuredSae& sae) {
  const AdviceRule::Validity& valid = rule.valid;
  const double expansion = static_cast<double>(sae.d_sae) / static_cast<double>(sae.d_in);
  std::string what;
  if (!holds(valid.expansion, expansion))
    what = fmt::format("the rule holds for d_sae / d_in {}, here {:.4g}", text_of(valid.expansion),
                       expansion);
  else if (!holds(valid.rows, static_cast<double>(sae.rows)))
    what = fmt::format("the rule holds for {:.0f} rows or more, here {}",
                       valid.rows.low.value_or(0), sae.rows);
  else if (!names(valid.variants, sae.variant))
    what =
        fmt::format("the rule holds for {}, here {}", fmt::join(valid.variants, ", "), sae.variant);
  return what.empty() || valid.why.empty() ? what : what + ": " + valid.why;
}

// What the bounds of the rule apply to; nothing where chance is not known.
std::optional<double> on_basis(const AdviceRule& rule, const MeasuredSae& sae, double value) {
  if (rule.basis == "per_feature") return value / static_cast<double>(sae.d_sae);
  if (rule.basis == "value") return value;
  const auto chance = find(sae.chance, rule.metric);
  if (!chance || !(*chance < 1)) return std::nullopt;
  return (value - *chance) / (1 - *chance);
}

struct Finding {
  Side side = Side::inside;
  bool red = false;
};

Finding by_bounds(const AdviceRule& rule, double value) {
  if (rule.red_above && value > *rule.red_above) return {Side::above, true};
  if (rule.red_below && value < *rule.red_below) return {Side::below, true};
  if (rule.good.high && value > *rule.good.high) return {Side::above, false};
  if (rule.good.low && value < *rule.good.low) return {Side::below, false};
  return {};
}

// A bound alone makes nothing red that the field or an untrained SAE shows as well.
void excuse(const AdviceRule& rule, const MeasuredSae& sae, Finding& finding, Verdict& verdict) {
  if (!finding.red) return;
  const AdviceRange& field = rule.field.range;
  const bool above = finding.side == Side::above;
  const auto end = above ? field.high : field.low;
  if (end && (above ? verdict.value <= *end : verdict.value >= *end)) {
    finding.red = false;
    verdict.notes.push_back(fmt::format("watch, not {}: published SAEs show {} {:.4g}",
                                        above ? "too high" : "too low", above ? "up to" : "down to",
                                        *end));
  }
  const auto control = rule.control == "same_side" ? verdict.control : std::nullopt;
  const auto measured = control ? on_basis(rule, sae, *control) : std::nullopt;
  if (!measured) return;
  const Finding same = by_bounds(rule, *measured);
  if (same.red && same.side == finding.side && finding.red) {
    finding.red = false;
    verdict.notes.push_back(
        fmt::format("watch, not {}: the frozen-random control shows {:.4g}, beyond the same bound",
                    above ? "too high" : "too low", *control));
  }
}

// Comparisons that do not hold count on the side that bounds have decided, or where those are kept.
void compare(const AdviceRule& rule, const MeasuredSae& sae, Finding& finding, Verdict& verdict) {
  for (const AdviceComparison& other : rule.compare) {
    const auto theirs = named(sae, other.with);
    if (!theirs) continue;
    const bool at_least = other.expected == "at_least";
    if (at_least ? verdict.value >= *theirs : verdict.value <= *theirs) continue;
    const Side side = at_least ? Side::below : Side::above;
    verdict.notes.push_back(
        fmt::format("{} {}, which is {:.4g}", at_least ? "below" : "above", other.with, *theirs));
    if (finding.side == Side::inside) finding.side = side;
    if (finding.side == side && other.otherwise == "red") finding.red = true;
  }
}

// Without bounds, good is what passes every comparison: the first that could not be made.
const AdviceComparison* not_compared(const AdviceRule& rule, const MeasuredSae& sae) {
  if (given(rule.good) || rule.red_below || rule.red_above) return nullptr;
  const auto missing = std::ranges::find_if(
      rule.compare, [&](const auto& other) { return !named(sae, other.with); });
  return missing == rule.compare.end() ? nullptr : &*missing;
}

State state_of(const Finding& finding) {
  if (finding.side == Side::inside) return State::good;
  if (!finding.red) return State::watch;
  return finding.side == Side::above ? State::too_high : State::too_low;
}

std::string fix_for(const std::vector<AdviceFix>& fixes, const std::string& variant) {
  for (const AdviceFix& fix : fixes)
    if (names(fix.variants, variant)) return fix.text;
  return "";
}

Verdict none(Verdict verdict, std::string why) {
  verdict.state = State::not_applicable;
  verdict.notes.insert(verdict.notes.begin(), std::move(why));
  return verdict;
}

std::string field_text(const AdviceRule::Field& field) {
  if (!given(field.range)) return field.source;
  return field.source.empty() ? text_of(field.range)
                              : fmt::format("{} ({})", text_of(field.range), field.source);
}

Verdict judge(const AdviceRule& rule, const MeasuredSae& sae, double value) {
  Verdict verdict{.rule = rule.id,
                  .metric = rule.metric,
                  .title = rule.title,
                  .value = value,
                  .good = good_text(rule),
                  .sentence = rule.meaning,
                  .fix = "",
                  .field = field_text(rule.field),
                  .control = find(sae.control, rule.metric),
                  .chance = find(sae.chance, rule.metric),
                  .notes = {}};
  if (rule.near_chance && verdict.chance && value <= *rule.near_chance * *verdict.chance)
    verdict.notes.push_back(fmt::format(
        "near chance at this width: a random dictionary shows {:.4g}", *verdict.chance));
  if (!std::isfinite(value)) return none(std::move(verdict), "the value is not a finite number");
  if (std::string why = out_of_validity(rule, sae); !why.empty())
    return none(std::move(verdict), std::move(why));
  const auto measured = on_basis(rule, sae, value);
  if (!measured) return none(std::move(verdict), "the value of a random dictionary is not given");

  Finding finding = by_bounds(rule, *measured);
  excuse(rule, sae, finding, verdict);
  compare(rule, sae, finding, verdict);
  const AdviceComparison* missing = not_compared(rule, sae);
  if (missing && finding.side == Side::inside)
    return none(std::move(verdict), fmt::format("{} was not measured", missing->with));
  verdict.side = finding.side;
  verdict.state = state_of(finding);
  if (verdict.side != Side::inside)
    verdict.fix = fix_for(verdict.side == Side::above ? rule.too_high : rule.too_low, sae.variant);
  return verdict;
}

bool is_concern(const Verdict& verdict) {
  return verdict.state != State::good && verdict.state != State::not_applicable;
}

}  // namespace

std::string_view to_string(VerdictState state) {
  switch (state) {
    case State::good: return "good";
    case State::watch: return "watch";
    case State::too_high: return "too_high";
    case State::too_low: return "too_low";
    case State::not_applicable: return "not_applicable";
  }
  return "";
}

std::string_view to_string(VerdictSide side) {
  switch (side) {
    case Side::inside: return "inside";
    case Side::above: return "above";
    case Side::below: return "below";
  }
  return "";
}

std::vector<Verdict> verdicts(const Advice& advice, const MeasuredSae& sae) {
  REFRACT_ASSERT(sae.d_in > 0 && sae.d_sae > 0, "d_in={} d_sae={}", sae.d_in, sae.d_sae);
  std::vector<Verdict> all;
  for (const AdviceRule& rule : advice.rules())
    if (const auto value = rule.judges() ? find(sae.values, rule.metric) : std::nullopt)
      all.push_back(judge(rule, sae, *value));
  for (Verdict& verdict : all) {
    if (!is_concern(verdict)) continue;
    for (const std::string& metric : advice.find(verdict.metric)->see) {
      const auto other = std::ranges::find(all, metric, &Verdict::metric);
      if (other != all.end() && is_concern(*other))
        verdict.notes.push_back(fmt::format("{} is {:.4g}, {} what is good", metric, other->value,
                                            to_string(other->side)));
    }
  }
  return all;
}

}  // namespace refract
