#pragma once
// A YAML text as plain values, each with the place it was given at. Aliases are copies, so that an
// override below one of them does not reach the others.
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace refract {

struct YamlValue {
  enum class Kind { nothing, scalar, list, section };
  struct Entry;

  Kind kind = Kind::nothing;
  std::string scalar;
  std::string where;             // "configs/x.yaml:14", "--set saes.0.k"
  std::vector<YamlValue> items;  // of a list
  std::vector<Entry> entries;    // of a section, in the order written

  [[nodiscard]] const YamlValue* find(std::string_view key) const;  // null when absent
  // How messages call it: the scalar, "a list", "a section", "nothing".
  [[nodiscard]] std::string_view text() const;
};

struct YamlValue::Entry {
  std::string key, where;
  YamlValue value;
};

// ConfigError with file and line: not YAML, a key twice, a merge key (<<), several documents.
[[nodiscard]] YamlValue parse_yaml(const std::string& text, const std::string& origin);

// override_text: "a.b=c", "saes.0.k=64", "saes.*.k=64". ConfigError names it.
void apply_override(YamlValue& root, const std::string& override_text);

// Sets the value at the dotted key, of entries that there are, unless there is one; `from` is
// where.
void apply_default(YamlValue& root, const std::string& key, const std::string& text,
                   const std::string& from);

}  // namespace refract
