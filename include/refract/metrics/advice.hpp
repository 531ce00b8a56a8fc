#pragma once
// What each metric means, when it is good, and what to change when it is not: rules that are data
// (configs/advice.yaml, which is part of the program; docs/formats/advice.md says what its keys
// mean), so that who knows better can give others. What the rules say of one SAE: verdict.hpp.
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace refract {

// A side that is absent has no bound; bounds lie inside.
struct AdviceRange {
  std::optional<double> low, high;
};

// A fix for some variants of SAE, or for all that none before it names.
struct AdviceFix {
  std::vector<std::string> variants;  // empty: all
  std::string text;
};

// Another number that this one is measured by: "pca_topk.r2", "control.delta_ce", "ce_mean".
struct AdviceComparison {
  std::string with;
  std::string expected = "at_least";  // at_least | at_most
  std::string otherwise = "watch";    // watch | red
};

struct AdviceRule {
  std::string metric, title;
  std::string meaning;          // one sentence: what it is and what of it is good
  std::string id;               // of the rule; empty where only the meaning is given
  std::string basis = "value";  // what bounds apply to: value | per_feature | above_chance
  AdviceRange good;             // outside: watch
  std::optional<double> red_below, red_above;
  std::vector<AdviceComparison> compare;
  // Outside of these bounds the rule says nothing, because of `why`.
  struct Validity {
    AdviceRange expansion, rows;
    std::vector<std::string> variants;  // empty: all
    std::string why;
  } valid;
  // What published SAEs that are in use show: a value within it is never red.
  struct Field {
    AdviceRange range;
    std::string source;
  } field;
  std::string control = "none";  // same_side: not red where the frozen-random control is red too
  // Up to this multiple of a random dictionary's value it is said to be near chance.
  std::optional<double> near_chance;
  std::vector<std::string> see;  // metrics whose verdict explains this one
  std::vector<AdviceFix> too_high, too_low;

  [[nodiscard]] bool judges() const { return !id.empty(); }
};

// The names of all metrics that are advised on. A new metric enters here and in
// configs/advice.yaml.
[[nodiscard]] std::span<const std::string_view> advised_metrics();

class Advice {
 public:
  // The rules of `file`; of the program itself where it is empty. ConfigError names file and line.
  [[nodiscard]] static Advice load(const std::string& file);
  [[nodiscard]] static Advice from_text(const std::string& text, const std::string& origin);
  // The text of the program's own rules, to begin an own file with.
  [[nodiscard]] static std::string_view text();

  // In the order of the file, each metric once; of the program's own rules: every metric.
  [[nodiscard]] std::span<const AdviceRule> rules() const { return rules_; }
  [[nodiscard]] const AdviceRule* find(std::string_view metric) const;  // null: not in the file
  // Of what the rules say: comments and layout do not change it.
  [[nodiscard]] std::string digest() const;

 private:
  std::vector<AdviceRule> rules_;
};

}  // namespace refract
