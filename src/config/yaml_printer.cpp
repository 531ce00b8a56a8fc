#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "refract/config/fields.hpp"

namespace refract {
namespace {

// Plain where YAML reads the same text back, else double-quoted.
std::string quoted(const std::string& text) {
  const bool plain =
      !text.empty() && text.find_first_of(":#{}[],&*?|>%@`\"'\\") == std::string::npos &&
      std::ranges::all_of(text, [](unsigned char c) { return c >= ' '; }) && text.front() != ' ' &&
      text.back() != ' ' && text.front() != '-' && text.front() != '!' && text.front() != '=' &&
      text != "~" && text != "null" && text != "Null" && text != "NULL";
  if (plain) return text;
  std::string out = "\"";
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < ' ') {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
      continue;
    }
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

std::string byte_text(Bytes value) {
  for (const auto& [unit, size] :
       {std::pair{"GiB", 1ull << 30}, {"MiB", 1ull << 20}, {"KiB", 1ull << 10}})
    if (value.value >= size && value.value % size == 0)
      return fmt::format("{}{}", value.value / size, unit);
  return fmt::format("{}", value.value);
}

std::string list_text(const std::vector<std::string>& values) {
  std::string text = "[";
  for (const std::string& value : values) text += (text.size() > 1 ? ", " : "") + quoted(value);
  return text + "]";
}

// A visitor to which every field is one text.
class TextFields : public Fields {
 public:
  void field(std::string_view key, std::int64_t& value, const FieldInfo& info) final {
    put(key, fmt::format("{}", value), info);
  }
  void field(std::string_view key, double& value, const FieldInfo& info) final {
    put(key, fmt::format("{}", value), info);
  }
  void field(std::string_view key, bool& value, const FieldInfo& info) final {
    put(key, value ? "true" : "false", info);
  }
  void field(std::string_view key, std::string& value, const FieldInfo& info) final {
    put(key, text_of(value), info);
  }
  void field(std::string_view key, Bytes& value, const FieldInfo& info) final {
    put(key, byte_text(value), info);
  }
  void field(std::string_view key, std::vector<std::string>& value, const FieldInfo& info) final {
    // One that may stand without brackets does: a setting that becomes a list keeps its digests.
    const bool one = info.one_or_list && value.size() <= 1;
    put(key, one ? text_of(value.empty() ? "" : value.front()) : list_text(value), info);
  }

 private:
  virtual void put(std::string_view key, const std::string& value, const FieldInfo& info) = 0;
  [[nodiscard]] virtual std::string text_of(const std::string& value) const {
    return quoted(value);
  }
};

class Printer final : public TextFields {
 public:
  void not_built(std::string_view, std::string_view) override {}
  void section(std::string_view key, std::string_view,
               const std::function<void(Fields&)>& body) override {
    line(key, "");
    ++depth_;
    body(*this);
    --depth_;
  }
  void list(std::string_view key, std::string_view, std::size_t size,
            const std::function<void(std::size_t)>&,
            const std::function<void(Fields&, std::size_t)>& body) override {
    line(key, size == 0 ? "[]" : "");
    for (std::size_t i = 0; i < size; ++i) {
      ++depth_;
      dash_ = true;
      ++depth_;
      body(*this, i);
      depth_ -= 2;
    }
  }
  std::string text;

 private:
  void put(std::string_view key, const std::string& value, const FieldInfo&) override {
    line(key, value);
  }
  void line(std::string_view key, std::string_view value) {
    std::string indent(static_cast<std::size_t>(depth_) * 2, ' ');
    if (dash_) indent[indent.size() - 2] = '-';
    dash_ = false;
    text += fmt::format("{}{}:{}{}\n", indent, key, value.empty() ? "" : " ", value);
  }
  int depth_ = 0;
  bool dash_ = false;
};

class Flattener final : public TextFields {
 public:
  void not_built(std::string_view, std::string_view) override {}
  void section(std::string_view key, std::string_view,
               const std::function<void(Fields&)>& body) override {
    const std::string saved = std::exchange(prefix_, prefix_ + std::string(key) + ".");
    body(*this);
    prefix_ = saved;
  }
  void list(std::string_view key, std::string_view, std::size_t size,
            const std::function<void(std::size_t)>&,
            const std::function<void(Fields&, std::size_t)>& body) override {
    const std::string saved = prefix_;
    for (std::size_t i = 0; i < size; ++i) {
      prefix_ = fmt::format("{}{}.{}.", saved, key, i);
      body(*this, i);
    }
    prefix_ = saved;
  }
  std::vector<std::pair<std::string, std::string>> values;

 private:
  void put(std::string_view key, const std::string& value, const FieldInfo&) override {
    values.emplace_back(prefix_ + std::string(key), value);
  }
  [[nodiscard]] std::string text_of(const std::string& value) const override { return value; }
  std::string prefix_;
};

class Reference final : public TextFields {
 public:
  void not_built(std::string_view key, std::string_view help) override {
    text +=
        fmt::format("  {:<28} not built in this version  {}\n", prefix_ + std::string(key), help);
  }
  void section(std::string_view key, std::string_view help,
               const std::function<void(Fields&)>& body) override {
    const std::string saved = prefix_;
    text += fmt::format("\n{}{}: {}\n", prefix_, key, help);
    prefix_ += std::string(key) + ".";
    body(*this);
    prefix_ = saved;
  }
  void list(std::string_view key, std::string_view help, std::size_t size,
            const std::function<void(std::size_t)>& resize,
            const std::function<void(Fields&, std::size_t)>& body) override {
    const std::string saved = prefix_;
    text += fmt::format("\n{}{} (a list): {}\n", prefix_, key, help);
    prefix_ += std::string(key) + ".N.";
    if (size == 0) resize(1);
    body(*this, 0);
    if (size == 0) resize(0);
    prefix_ = saved;
  }
  std::string text;

 private:
  void put(std::string_view key, const std::string& value, const FieldInfo& info) override {
    std::string range;
    if (!info.allowed.empty())
      range = fmt::format(
          " ({}{}{})", fmt::join(info.allowed, " | "),
          info.not_built.empty() ? "" : "; not built: ", fmt::join(info.not_built, ", "));
    else if (std::isfinite(info.at_least) && std::isfinite(info.at_most))
      range = fmt::format(" ({:.17g} to {:.17g})", info.at_least, info.at_most);
    else if (std::isfinite(info.at_least))
      range = fmt::format(" (at least {})", info.at_least);
    const std::string unit = info.unit.empty() ? "" : fmt::format(" {}", info.unit);
    text += fmt::format("  {:<28} [{}{}]{}  {}\n", prefix_ + std::string(key), value, unit, range,
                        info.help);
  }
  std::string prefix_;
};

}  // namespace

std::string print_yaml(const Description& description) {
  Printer printer;
  description(printer);
  return printer.text;
}

std::vector<std::pair<std::string, std::string>> flatten(const Description& description) {
  Flattener flattener;
  description(flattener);
  return flattener.values;
}

std::string print_reference(const Description& description) {
  Reference reference;
  description(reference);
  return reference.text;
}

}  // namespace refract
