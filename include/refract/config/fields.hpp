#pragma once
// Each setting is described once: a struct's describe() names its fields to a visitor, and the same
// description reads YAML, prints the resolved configuration and prints the settings reference.
//
//   void describe(Fields& f, StoreConfig& c) {
//     f.field("chunk_rows", c.chunk_rows, {.help = "rows of one chunk", .at_least = 1});
//   }
#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace refract {

struct FieldInfo {
  std::string_view help = {};
  std::string_view unit = {};
  double at_least = -std::numeric_limits<double>::infinity();
  double at_most = std::numeric_limits<double>::infinity();
  std::vector<std::string_view> allowed = {};    // for strings: the only values
  std::vector<std::string_view> not_built = {};  // values of the format that this version lacks
  bool one_or_list = false;  // for lists of strings: one may stand without brackets
};

// A byte count written as 2GiB, 500MB or 1073741824.
struct Bytes {
  std::uint64_t value = 0;
};

class Fields {
 public:
  virtual ~Fields() = default;
  virtual void field(std::string_view key, std::int64_t& value, const FieldInfo& info) = 0;
  virtual void field(std::string_view key, double& value, const FieldInfo& info) = 0;
  virtual void field(std::string_view key, bool& value, const FieldInfo& info) = 0;
  virtual void field(std::string_view key, std::string& value, const FieldInfo& info) = 0;
  virtual void field(std::string_view key, Bytes& value, const FieldInfo& info) = 0;
  virtual void field(std::string_view key, std::vector<std::string>& value,
                     const FieldInfo& info) = 0;
  // A key of the format that this version lacks: NotBuilt where it is given.
  virtual void not_built(std::string_view key, std::string_view help) = 0;
  // A nested section: body describes its fields.
  virtual void section(std::string_view key, std::string_view help,
                       const std::function<void(Fields&)>& body) = 0;
  // A list of structs: resize(n) makes n entries, body describes entry i. `size` is the present
  // length.
  virtual void list(std::string_view key, std::string_view help, std::size_t size,
                    const std::function<void(std::size_t)>& resize,
                    const std::function<void(Fields&, std::size_t)>& body) = 0;

  template <typename T>
  requires(std::is_unsigned_v<T> && !std::is_same_v<T, bool>) void field(std::string_view key,
                                                                         T& value, FieldInfo info) {
    auto wide = static_cast<std::int64_t>(value);
    if (info.at_least < 0) info.at_least = 0;
    if constexpr (sizeof(T) < sizeof(std::int64_t))
      info.at_most = std::min(info.at_most, static_cast<double>(std::numeric_limits<T>::max()));
    field(key, wide, info);
    value = static_cast<T>(wide);
  }
  // A nested struct with its own describe().
  template <typename S>
  void nested(std::string_view key, std::string_view help, S& value) {
    section(key, help, [&](Fields& inner) { describe(inner, value); });
  }
};

using Description = std::function<void(Fields&)>;

// Where each key of one read was given.
class Origins {
 public:
  static constexpr std::string_view kDefault = "default";
  // "configs/x.yaml:14", "--set saes.0.k", what Defaults::from says, or kDefault.
  [[nodiscard]] std::string of(std::string_view dotted_key) const;
  void note(std::string_view dotted_key, std::string_view where);

 private:
  std::map<std::string, std::string, std::less<>> places_;
};

// Values that stand where a read has none: below the file and --set, above the structs' defaults.
struct Defaults {
  std::string from;                                         // what Origins says of them
  std::vector<std::pair<std::string, std::string>> values;  // dotted key, value as YAML
};

// Reads a YAML file strictly: an unknown key, a key given twice, a wrong type, a value out of range
// give one ConfigError with file, line, found, allowed; what is known but not built, NotBuilt.
// `overrides` are "a.b=c", "saes.0.k=64" or "saes.*.k=64", applied before reading. A text written
// as a map of scalars ({rows: 4, features: 2}) reads as "rows: 4, features: 2".
Origins read_yaml(const std::string& file, const std::vector<std::string>& overrides,
                  const Description& description);
// The same from text; `origin` stands for the file's name in messages.
Origins read_yaml_text(const std::string& text, const std::string& origin,
                       const std::vector<std::string>& overrides, const Description& description,
                       const Defaults& defaults = {});
// The text of such a file; ConfigError for a folder, an empty or binary file, an HTML page.
[[nodiscard]] std::string read_configuration_file(const std::string& file);

// Resolved values, with every default.
[[nodiscard]] std::string print_yaml(const Description& description);
// Of each setting its key, default, unit, range and help.
[[nodiscard]] std::string print_reference(const Description& description);
// Every setting as (dotted key, value), in order: for comparing configurations and for digests.
[[nodiscard]] std::vector<std::pair<std::string, std::string>> flatten(
    const Description& description);

}  // namespace refract
