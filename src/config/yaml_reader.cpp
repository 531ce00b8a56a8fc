#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "config/yaml_tree.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/numbers.hpp"
#include "refract/config/fields.hpp"

namespace refract {
namespace {

using Kind = YamlValue::Kind;

std::string joined(const std::vector<std::string_view>& words) {
  return fmt::format("{}", fmt::join(words, ", "));
}

bool contains(const std::vector<std::string_view>& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

constexpr double kEndOfCounts = 0x1p63;  // sizes from here on would overflow their sums

class Reader final : public Fields {
 public:
  Reader(const YamlValue& section, std::string path, Origins& origins)
      : section_(section), path_(std::move(path)), origins_(origins) {}

  void field(std::string_view key, std::int64_t& value, const FieldInfo& info) override {
    const YamlValue* found = take(key);
    if (!found) return;
    const std::string text = scalar(*found, key, "a whole number");
    const std::optional<std::int64_t> whole = parse_whole(text);
    if (!whole && is_whole_but_too_large(text)) out_of_range(*found, key, info);
    if (!whole) wrong(*found, key, "a whole number");
    const auto real = static_cast<double>(*whole);
    if (real < info.at_least || real > info.at_most) out_of_range(*found, key, info);
    value = *whole;
  }
  void field(std::string_view key, double& value, const FieldInfo& info) override {
    const YamlValue* found = take(key);
    if (!found) return;
    const std::optional<double> real = parse_real(scalar(*found, key, "a number"));
    if (!real) wrong(*found, key, "a number");
    if (*real < info.at_least || *real > info.at_most) out_of_range(*found, key, info);
    value = *real;
  }
  void field(std::string_view key, bool& value, const FieldInfo&) override {
    const YamlValue* found = take(key);
    if (!found) return;
    const std::string text = scalar(*found, key, "true or false");
    if (text != "true" && text != "false") wrong(*found, key, "true or false");
    value = text == "true";
  }
  void field(std::string_view key, std::string& value, const FieldInfo& info) override {
    const YamlValue* found = take(key);
    if (!found) return;
    if (found->kind == Kind::section && !found->entries.empty() &&
        std::ranges::all_of(found->entries,
                            [](const auto& entry) { return entry.value.kind == Kind::scalar; }))
      value = as_text(found->entries);
    else
      value = scalar(*found, key, "a text");
    if (contains(info.not_built, value))
      throw NotBuilt("{}: {} is {}, which is not built in this version. Use {}.", found->where,
                     dotted(key), value, fmt::join(info.allowed, " or "));
    if (!info.allowed.empty() && !contains(info.allowed, value))
      wrong(*found, key, fmt::format("one of: {}", joined(info.allowed)));
  }
  void field(std::string_view key, Bytes& value, const FieldInfo& info) override {
    const YamlValue* found = take(key);
    if (!found) return;
    constexpr std::string_view kExpected =
        "a size: a number and B, KB, MB, GB, TB, KiB, MiB, GiB or TiB, below 8 EiB";
    const std::optional<std::uint64_t> bytes = parse_bytes(scalar(*found, key, kExpected));
    if (!bytes) wrong(*found, key, kExpected);
    const auto real = static_cast<double>(*bytes);
    if (real < info.at_least || real > info.at_most) out_of_range(*found, key, info);
    value.value = *bytes;
  }
  void field(std::string_view key, std::vector<std::string>& value,
             const FieldInfo& info) override {
    const YamlValue* found = take(key);
    if (!found) return;
    if (info.one_or_list && found->kind == Kind::scalar) {
      value = {found->scalar};
      return;
    }
    if (found->kind != Kind::list || (info.one_or_list && found->items.empty()))
      wrong(*found, key, info.one_or_list ? "a text, or a list of them" : "a list, such as [a, b]");
    value.clear();
    for (const YamlValue& item : found->items) {
      if (item.kind != Kind::scalar) wrong(item, key, "a list of texts");
      value.push_back(item.scalar);
    }
  }
  void not_built(std::string_view key, std::string_view help) override {
    const YamlValue* found = section_.find(key);
    if (!found) return;
    throw NotBuilt("{}: {} ({}) is not built in this version. Leave it out.", found->where,
                   dotted(key), help);
  }
  void section(std::string_view key, std::string_view,
               const std::function<void(Fields&)>& body) override {
    static const YamlValue kEmpty;
    const YamlValue* found = take(key);
    if (found && found->kind != Kind::section)
      wrong(*found, key, "a section (key: value lines below it)");
    Reader reader(found ? *found : kEmpty, dotted(key), origins_);
    body(reader);
    reader.refuse_unknown();
  }
  void list(std::string_view key, std::string_view, std::size_t,
            const std::function<void(std::size_t)>& resize,
            const std::function<void(Fields&, std::size_t)>& body) override {
    const YamlValue* found = take(key);
    if (!found) return;
    if (found->kind != Kind::list) wrong(*found, key, "a list (lines that begin with '- ')");
    resize(found->items.size());
    for (std::size_t i = 0; i < found->items.size(); ++i) {
      const YamlValue& item = found->items[i];
      const std::string entry = fmt::format("{}.{}", dotted(key), i);
      if (item.kind != Kind::section)
        wrong(item, key, "a list of sections, such as - {name: a, k: 16}");
      origins_.note(entry, item.where);
      Reader reader(item, entry, origins_);
      body(reader, i);
      reader.refuse_unknown();
    }
  }

  void refuse_unknown() const {
    for (const YamlValue::Entry& entry : section_.entries)
      if (std::find(known_.begin(), known_.end(), entry.key) == known_.end())
        throw ConfigError("{}: unknown key '{}'{}; allowed: {}", entry.where, entry.key,
                          path_.empty() ? "" : " in '" + path_ + "'", fmt::join(known_, ", "));
  }

 private:
  std::string dotted(std::string_view key) const {
    return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
  }
  const YamlValue* take(std::string_view key) {
    known_.emplace_back(key);
    const YamlValue* found = section_.find(key);
    if (!found || found->kind == Kind::nothing) return nullptr;
    origins_.note(dotted(key), found->where);
    return found;
  }
  template <typename Entries>
  static std::string as_text(const Entries& entries) {
    std::string text;
    for (const auto& entry : entries)
      text += (text.empty() ? "" : ", ") + entry.key + ": " + entry.value.scalar;
    return text;
  }
  std::string scalar(const YamlValue& value, std::string_view key,
                     std::string_view expected) const {
    if (value.kind != Kind::scalar) wrong(value, key, expected);
    return value.scalar;
  }
  static bool is_whole_but_too_large(std::string text) {
    std::erase(text, '_');
    const std::optional<double> real = parse_real(text);
    return real && *real == std::floor(*real);
  }
  // Exact where the number is whole; below 2^63.
  static std::optional<std::uint64_t> parse_bytes(std::string_view text) {
    static constexpr std::array<std::pair<std::string_view, std::uint64_t>, 10> kUnits{
        {{"KiB", 1ull << 10},
         {"MiB", 1ull << 20},
         {"GiB", 1ull << 30},
         {"TiB", 1ull << 40},
         {"KB", 1'000},
         {"MB", 1'000'000},
         {"GB", 1'000'000'000},
         {"TB", 1'000'000'000'000},
         {"B", 1},
         {"", 1}}};
    for (const auto& [unit, size] : kUnits) {
      if (!text.ends_with(unit)) continue;
      std::string number(text.substr(0, text.size() - unit.size()));
      while (!number.empty() && number.back() == ' ') number.pop_back();
      std::erase(number, '_');
      if (const auto whole = parse_count(number)) {
        if (*whole > (std::uint64_t{1} << 63) / size - 1) return std::nullopt;
        return *whole * size;
      }
      const std::optional<double> real = parse_real(number);
      const double bytes = real ? *real * static_cast<double>(size) : -1;
      if (bytes < 0 || bytes >= kEndOfCounts || (bytes < 1 && bytes > 0)) return std::nullopt;
      return static_cast<std::uint64_t>(bytes);
    }
    return std::nullopt;
  }
  [[noreturn]] void wrong(const YamlValue& value, std::string_view key,
                          std::string_view expected) const {
    throw ConfigError("{}: {} is '{}'; expected {}", value.where, dotted(key), value.text(),
                      expected);
  }
  [[noreturn]] void out_of_range(const YamlValue& value, std::string_view key,
                                 const FieldInfo& info) const {
    // A whole number has no bound above what its type holds.
    const double at_most = std::min(info.at_most, kEndOfCounts);
    if (!std::isfinite(info.at_least))
      wrong(value, key, fmt::format("a number of at most {:.17g}", at_most));
    wrong(value, key,
          at_most >= kEndOfCounts
              ? fmt::format("a number of at least {:.17g}, below 2^63", info.at_least)
              : fmt::format("a number from {:.17g} to {:.17g}", info.at_least, at_most));
  }

  const YamlValue& section_;
  std::string path_;
  Origins& origins_;
  std::vector<std::string> known_;
};

// What a file that is no configuration is, where that can be seen at once; else empty.
std::string_view what_else(std::string_view text) {
  if (text.find_first_not_of(" \t\r\n") == std::string_view::npos) return "an empty file";
  if (text.find('\0') != std::string_view::npos) return "a binary file";
  if (text.substr(0, 256).find("<html") != std::string_view::npos ||
      text.starts_with("<!doctype") || text.starts_with("<!DOCTYPE"))
    return "an HTML page";
  return "";
}

}  // namespace

void Origins::note(std::string_view dotted_key, std::string_view where) {
  places_.insert_or_assign(std::string(dotted_key), std::string(where));
}

std::string Origins::of(std::string_view dotted_key) const {
  const auto found = places_.find(dotted_key);
  return found == places_.end() ? std::string(kDefault) : found->second;
}

Origins read_yaml_text(const std::string& text, const std::string& origin,
                       const std::vector<std::string>& overrides, const Description& description,
                       const Defaults& defaults) {
  YamlValue root = parse_yaml(text, origin);
  if (root.kind != Kind::section && root.kind != Kind::nothing)
    throw ConfigError("{}: expected 'key: value' lines, found {}", root.where,
                      root.kind == Kind::list ? "a list" : "one text");
  for (const std::string& override_text : overrides) apply_override(root, override_text);
  for (const auto& [key, value] : defaults.values) apply_default(root, key, value, defaults.from);
  Origins origins;
  Reader reader(root, "", origins);
  description(reader);
  reader.refuse_unknown();
  return origins;
}

Origins read_yaml(const std::string& file, const std::vector<std::string>& overrides,
                  const Description& description) {
  return read_yaml_text(read_configuration_file(file), file, overrides, description);
}

std::string read_configuration_file(const std::string& file) {
  std::error_code ignored;
  if (fs::is_directory(file, ignored))
    throw ConfigError("{} is a folder; give the configuration file (YAML) in it", file);
  std::string text;
  try {
    text = read_file(file);
  } catch (const Error& error) {
    throw ConfigError("{}", error.what());
  }
  if (const std::string_view other = what_else(text); !other.empty())
    throw ConfigError("{} is {}, not a configuration; give a YAML file such as configs/demo.yaml",
                      file, other);
  return text;
}

}  // namespace refract
