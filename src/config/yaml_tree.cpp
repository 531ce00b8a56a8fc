#include "config/yaml_tree.hpp"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <functional>
#include <map>
#include <sstream>

#include "refract/base/error.hpp"
#include "refract/base/numbers.hpp"

namespace refract {
namespace {

using Kind = YamlValue::Kind;
using Place = std::function<std::string(int line)>;  // line from 0

// More than any configuration holds: aliases of aliases can grow without end.
constexpr std::size_t kMostValues = 200'000;

std::size_t count_values(const YamlValue& value) {
  std::size_t count = 1;
  for (const YamlValue& item : value.items) count += count_values(item);
  for (const YamlValue::Entry& entry : value.entries) count += count_values(entry.value);
  return count;
}

class TreeBuilder final : public YAML::EventHandler {
 public:
  explicit TreeBuilder(Place place) : place_(std::move(place)) {}

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    add({Kind::nothing, "", place_(mark.line), {}, {}}, anchor);
  }
  void OnScalar(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                const std::string& value) override {
    add({Kind::scalar, value, place_(mark.line), {}, {}}, anchor);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end())
      throw ConfigError("{}: an alias that lies within its own anchor; write the settings out",
                        place_(mark.line));
    add(YamlValue(found->second), 0);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open_.push_back({{Kind::list, "", place_(mark.line), {}, {}}, anchor, {}, false});
  }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open_.push_back({{Kind::section, "", place_(mark.line), {}, {}}, anchor, {}, false});
  }
  void OnSequenceEnd() override { close(); }
  void OnMapEnd() override { close(); }

  YamlValue root;

 private:
  struct Open {
    YamlValue value;
    YAML::anchor_t anchor;
    YamlValue key;
    bool has_key;
  };

  void close() {
    Open done = std::move(open_.back());
    open_.pop_back();
    add(std::move(done.value), done.anchor);
  }

  void add(YamlValue value, YAML::anchor_t anchor) {
    if (anchor != 0) anchors_[anchor] = value;
    values_ += anchor == 0 && !value.items.empty() ? count_values(value) : 1;
    if (values_ > kMostValues)
      throw ConfigError("{}: more than {} values; no configuration is so large", value.where,
                        kMostValues);
    if (open_.empty()) {
      root = std::move(value);
      return;
    }
    Open& parent = open_.back();
    if (parent.value.kind == Kind::list) {
      parent.value.items.push_back(std::move(value));
    } else if (!parent.has_key) {
      expect_key(value, parent.value);
      parent.key = std::move(value);
      parent.has_key = true;
    } else {
      parent.value.entries.push_back(
          {std::move(parent.key.scalar), std::move(parent.key.where), std::move(value)});
      parent.has_key = false;
    }
  }

  static void expect_key(const YamlValue& key, const YamlValue& section) {
    if (key.kind != Kind::scalar)
      throw ConfigError("{}: {} stands where a key is expected; write 'key: value'", key.where,
                        key.text());
    if (key.scalar == "<<")
      throw ConfigError("{}: merge keys (<<) are not read; write the settings out", key.where);
    for (const YamlValue::Entry& before : section.entries)
      if (before.key == key.scalar)
        throw ConfigError("{}: '{}' is given twice in one section, first at {}; keep one",
                          key.where, key.scalar, before.where);
  }

  Place place_;
  std::vector<Open> open_;
  std::map<YAML::anchor_t, YamlValue> anchors_;
  std::size_t values_ = 0;
};

YamlValue parse(const std::string& text, const Place& place) {
  std::istringstream stream(text);
  YAML::Parser parser(stream);
  TreeBuilder builder(place);
  if (parser.HandleNextDocument(builder)) {
    TreeBuilder second(place);
    if (parser.HandleNextDocument(second))
      throw ConfigError("{}: a second YAML document (---); a configuration is one",
                        second.root.where);
  }
  return std::move(builder.root);
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  std::size_t at = 0;
  while (at <= text.size()) {
    const std::size_t end = std::min(text.find(separator, at), text.size());
    parts.emplace_back(text.substr(at, end - at));
    at = end + 1;
  }
  return parts;
}

void set_path(YamlValue& at, const std::vector<std::string>& path, std::size_t depth,
              const YamlValue& value, const std::string& text) {
  if (depth == path.size()) {
    at = value;
    return;
  }
  const std::string& key = path[depth];
  if (at.kind == Kind::list) {
    const bool all = key == "*";
    const auto index = parse_count(key);
    if (!all && (!index || *index >= at.items.size()))
      throw ConfigError("--set {}: '{}' is no entry of the list: {}", text, key,
                        at.items.empty()
                            ? "it is empty"
                            : fmt::format("it has 0 to {}, or * for all", at.items.size() - 1));
    for (std::size_t i = 0; i < at.items.size(); ++i)
      if (all || i == *index) set_path(at.items[i], path, depth + 1, value, text);
    return;
  }
  if (at.kind == Kind::scalar)
    throw ConfigError("--set {}: '{}' lies below a value that is no section", text, key);
  at.kind = Kind::section;
  for (YamlValue::Entry& entry : at.entries)
    if (entry.key == key) return set_path(entry.value, path, depth + 1, value, text);
  at.entries.push_back({key, value.where, {}});
  at.entries.back().value.where = value.where;
  set_path(at.entries.back().value, path, depth + 1, value, text);
}

}  // namespace

const YamlValue* YamlValue::find(std::string_view key) const {
  for (const Entry& entry : entries)
    if (entry.key == key) return &entry.value;
  return nullptr;
}

std::string_view YamlValue::text() const {
  switch (kind) {
    case Kind::scalar: return scalar;
    case Kind::list: return "a list";
    case Kind::section: return "a section";
    case Kind::nothing: break;
  }
  return "nothing";
}

YamlValue parse_yaml(const std::string& text, const std::string& origin) {
  try {
    return parse(text, [&](int line) {
      return line >= 0 ? fmt::format("{}:{}", origin, line + 1) : origin;
    });
  } catch (const YAML::Exception& error) {
    throw ConfigError("{}:{}: not YAML: {}", origin, error.mark.line + 1, error.msg);
  }
}

void apply_override(YamlValue& root, const std::string& override_text) {
  const std::size_t equals = override_text.find('=');
  if (equals == std::string::npos || equals == 0)
    throw ConfigError("--set {}: expected key=value, such as --set saes.0.k=64", override_text);
  const std::string key = override_text.substr(0, equals);
  const std::string where = "--set " + key;
  if (override_text.find_first_not_of(' ', equals + 1) == std::string::npos)
    throw ConfigError("--set {}: no value is given; an empty text is written {}='\"\"'",
                      override_text, key);
  YamlValue value;
  try {
    value = parse(override_text.substr(equals + 1), [&](int) { return where; });
  } catch (const YAML::Exception& error) {
    throw ConfigError("--set {}: the value is not YAML: {}", override_text, error.msg);
  }
  set_path(root, split(key, '.'), 0, value, override_text);
}

void apply_default(YamlValue& root, const std::string& key, const std::string& text,
                   const std::string& from) {
  const std::vector<std::string> path = split(key, '.');
  const YamlValue* at = &root;
  for (std::size_t depth = 0; at && depth < path.size(); ++depth)
    at = at->kind == Kind::list ? &at->items.at(parse_count(path[depth]).value())
                                : at->find(path[depth]);
  if (at && at->kind != Kind::nothing) return;
  set_path(root, path, 0, parse(text, [&](int) { return from; }), key);
}

}  // namespace refract
