#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>

#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/config/fields.hpp"

namespace refract {
namespace {

// Where each key of the last read was given, for messages of checks that come after reading.
std::map<std::string, std::string, std::less<>> g_origins;

std::string joined(const std::vector<std::string_view>& words) {
  return fmt::format("{}", fmt::join(words, ", "));
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

void set_path(YAML::Node node, const std::vector<std::string>& path, std::size_t depth,
              const YAML::Node& value, const std::string& text) {
  const std::string& key = path[depth];
  const bool last = depth + 1 == path.size();
  if (node.IsSequence()) {
    const bool all = key == "*";
    const bool number = !key.empty() && std::all_of(key.begin(), key.end(),
                                                    [](char c) { return c >= '0' && c <= '9'; });
    if (!all && (!number || std::stoul(key) >= node.size()))
      throw ConfigError("--set {}: '{}' is no entry of the list (it has {}: 0 to {}, or * for all)",
                        text, key, node.size(), static_cast<long>(node.size()) - 1);
    for (std::size_t i = 0; i < node.size(); ++i) {
      if (!all && i != std::stoul(key)) continue;
      if (last)
        node[i] = YAML::Clone(value);
      else
        set_path(node[i], path, depth + 1, value, text);
    }
    return;
  }
  if (node.IsDefined() && !node.IsNull() && !node.IsMap())
    throw ConfigError("--set {}: '{}' lies below a value that is no section", text, key);
  if (last) {
    node[key] = YAML::Clone(value);
    return;
  }
  if (!node[key].IsDefined() || node[key].IsNull()) node[key] = YAML::Node(YAML::NodeType::Map);
  set_path(node[key], path, depth + 1, value, text);
}

class Reader final : public Fields {
 public:
  Reader(YAML::Node node, std::string path, std::string origin,
         const std::vector<std::string>& overrides)
      : node_(std::move(node)),
        path_(std::move(path)),
        origin_(std::move(origin)),
        overrides_(overrides) {}

  void field(std::string_view key, std::int64_t& value, const FieldInfo& info) override {
    const std::optional<YAML::Node> found = take(key);
    if (!found) return;
    std::string text = scalar(*found, key, "a whole number");
    std::erase(text, '_');
    char* end = nullptr;
    const double real = std::strtod(text.c_str(), &end);
    std::int64_t whole = 0;
    const bool exact = YAML::convert<std::int64_t>::decode(YAML::Node(text), whole);
    if (end == text.c_str() || *end != '\0' || (!exact && real != std::floor(real)))
      wrong(*found, key, "a whole number");
    value = exact ? whole : static_cast<std::int64_t>(real);
    check_range(*found, key, static_cast<double>(value), info);
  }
  void field(std::string_view key, double& value, const FieldInfo& info) override {
    const std::optional<YAML::Node> found = take(key);
    if (!found) return;
    const std::string text = scalar(*found, key, "a number");
    char* end = nullptr;
    const double real = std::strtod(text.c_str(), &end);
    if (end == text.c_str() || *end != '\0' || !std::isfinite(real)) wrong(*found, key, "a number");
    value = real;
    check_range(*found, key, value, info);
  }
  void field(std::string_view key, bool& value, const FieldInfo&) override {
    const std::optional<YAML::Node> found = take(key);
    if (!found) return;
    const std::string text = scalar(*found, key, "true or false");
    if (text != "true" && text != "false") wrong(*found, key, "true or false");
    value = text == "true";
  }
  void field(std::string_view key, std::string& value, const FieldInfo& info) override {
    const std::optional<YAML::Node> found = take(key);
    if (!found) return;
    if (found->IsMap() && found->size() == 1 && found->begin()->second.IsScalar())
      value = found->begin()->first.Scalar() + ": " + found->begin()->second.Scalar();
    else
      value = scalar(*found, key, "a text");
    if (!info.allowed.empty() &&
        std::find(info.allowed.begin(), info.allowed.end(), value) == info.allowed.end())
      wrong(*found, key, fmt::format("one of: {}", joined(info.allowed)));
  }
  void field(std::string_view key, Bytes& value, const FieldInfo&) override {
    const std::optional<YAML::Node> found = take(key);
    if (!found) return;
    const std::string text = scalar(*found, key, "a size such as 2GiB");
    char* end = nullptr;
    const double number = std::strtod(text.c_str(), &end);
    std::string unit(end);
    std::erase(unit, ' ');
    static const std::map<std::string, double> kUnits{
        {"", 1},      {"B", 1},        {"KB", 1e3},     {"MB", 1e6},     {"GB", 1e9},
        {"TB", 1e12}, {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30}, {"TiB", 0x1p40}};
    if (end == text.c_str() || number < 0 || !kUnits.contains(unit))
      wrong(*found, key, "a size: a number and B, KB, MB, GB, TB, KiB, MiB, GiB or TiB");
    value.value = static_cast<std::uint64_t>(number * kUnits.at(unit));
  }
  void field(std::string_view key, std::vector<std::string>& value, const FieldInfo&) override {
    const std::optional<YAML::Node> found = take(key);
    if (!found) return;
    if (!found->IsSequence()) wrong(*found, key, "a list, such as [a, b]");
    value.clear();
    for (const YAML::Node& item : *found) {
      if (!item.IsScalar()) wrong(item, key, "a list of texts");
      value.push_back(item.Scalar());
    }
  }
  void section(std::string_view key, std::string_view,
               const std::function<void(Fields&)>& body) override {
    const std::optional<YAML::Node> found = take(key);
    YAML::Node inner = found ? *found : YAML::Node(YAML::NodeType::Map);
    if (found && !found->IsMap()) wrong(*found, key, "a section (key: value lines below it)");
    Reader reader(inner, dotted(key), origin_, overrides_);
    body(reader);
    reader.refuse_unknown();
  }
  void list(std::string_view key, std::string_view, std::size_t,
            const std::function<void(std::size_t)>& resize,
            const std::function<void(Fields&, std::size_t)>& body) override {
    const std::optional<YAML::Node> found = take(key);
    if (!found) return;
    if (!found->IsSequence()) wrong(*found, key, "a list (lines that begin with '- ')");
    resize(found->size());
    for (std::size_t i = 0; i < found->size(); ++i) {
      const YAML::Node item = (*found)[i];
      if (!item.IsMap()) wrong(item, key, "a list of sections, such as - {name: a, k: 16}");
      Reader reader(item, fmt::format("{}.{}", dotted(key), i), origin_, overrides_);
      body(reader, i);
      reader.refuse_unknown();
    }
  }

  void refuse_unknown() const {
    for (const auto& entry : node_) {
      const std::string key = entry.first.Scalar();
      if (std::find(known_.begin(), known_.end(), key) != known_.end()) continue;
      throw ConfigError("{}: unknown key '{}'{}; allowed: {}", where(entry.first, key), key,
                        path_.empty() ? "" : " in '" + path_ + "'", fmt::join(known_, ", "));
    }
  }

 private:
  std::string dotted(std::string_view key) const {
    return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
  }
  std::optional<YAML::Node> take(std::string_view key) {
    known_.emplace_back(key);
    const YAML::Node found = node_[std::string(key)];
    if (!found.IsDefined() || found.IsNull()) return std::nullopt;
    g_origins[dotted(key)] = where(found, key);
    return found;
  }
  std::string scalar(const YAML::Node& node, std::string_view key,
                     std::string_view expected) const {
    if (!node.IsScalar()) wrong(node, key, expected);
    return node.Scalar();
  }
  std::string where(const YAML::Node& node, std::string_view key) const {
    const std::string full = dotted(key);
    for (const std::string& text : overrides_) {
      const std::string given = text.substr(0, text.find('='));
      const std::vector<std::string> a = split(given, '.'), b = split(full, '.');
      bool same = a.size() <= b.size();
      for (std::size_t i = 0; same && i < a.size(); ++i) same = a[i] == "*" || a[i] == b[i];
      if (same) return "--set " + given;
    }
    return node.Mark().line >= 0 ? fmt::format("{}:{}", origin_, node.Mark().line + 1) : origin_;
  }
  [[noreturn]] void wrong(const YAML::Node& node, std::string_view key,
                          std::string_view expected) const {
    std::string found = node.IsScalar()     ? node.Scalar()
                        : node.IsSequence() ? "a list"
                        : node.IsMap()      ? "a section"
                                            : "nothing";
    throw ConfigError("{}: {} is '{}'; expected {}", where(node, key), dotted(key), found,
                      expected);
  }
  void check_range(const YAML::Node& node, std::string_view key, double value,
                   const FieldInfo& info) const {
    if (value < info.at_least)
      wrong(node, key, fmt::format("a number of at least {}", info.at_least));
    if (value > info.at_most) wrong(node, key, fmt::format("a number of at most {}", info.at_most));
  }

  YAML::Node node_;
  std::string path_, origin_;
  const std::vector<std::string>& overrides_;
  std::vector<std::string> known_;
};

}  // namespace

void read_yaml_text(const std::string& text, const std::string& origin,
                    const std::vector<std::string>& overrides, const Description& description) {
  YAML::Node root;
  try {
    root = YAML::Load(text);
  } catch (const YAML::Exception& error) {
    throw ConfigError("{}:{}: not YAML: {}", origin, error.mark.line + 1, error.msg);
  }
  if (root.IsNull()) root = YAML::Node(YAML::NodeType::Map);
  if (!root.IsMap())
    throw ConfigError("{}: expected 'key: value' lines, found something else", origin);
  for (const std::string& override_text : overrides) {
    const std::size_t equals = override_text.find('=');
    if (equals == std::string::npos || equals == 0)
      throw ConfigError("--set {}: expected key=value, such as --set saes.0.k=64", override_text);
    try {
      set_path(root, split(override_text.substr(0, equals), '.'), 0,
               YAML::Load(override_text.substr(equals + 1)), override_text);
    } catch (const YAML::Exception& error) {
      throw ConfigError("--set {}: the value is not YAML: {}", override_text, error.msg);
    }
  }
  g_origins.clear();
  Reader reader(root, "", origin, overrides);
  description(reader);
  reader.refuse_unknown();
}

void read_yaml(const std::string& file, const std::vector<std::string>& overrides,
               const Description& description) {
  std::string text;
  try {
    text = read_file(file);
  } catch (const Error& error) {
    throw ConfigError("{}", error.what());
  }
  read_yaml_text(text, file, overrides, description);
}

std::string where_given(std::string_view dotted_key) {
  const auto found = g_origins.find(dotted_key);
  return found == g_origins.end() ? "default" : found->second;
}

}  // namespace refract
