#pragma once
// config.json of a Hugging Face model folder: typed values with the class defaults, errors that
// name the field.
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace refract {

// A key of config.json, and the common name that transformers reads as the same (attribute_map).
struct SettingName {
  constexpr SettingName(const char* own, const char* common = "") : key(own), alias(common) {}
  std::string_view key, alias;
};

class ModelConfig {
 public:
  explicit ModelConfig(
      const std::filesystem::path& folder);  // DataError: missing, not JSON, not an object
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] const std::string& text() const { return text_; }

  // Absent and null mean the default, as in the Hugging Face class; another type is a DataError,
  // and so are a key and its alias with different values.
  [[nodiscard]] std::size_t size(SettingName name,
                                 std::size_t absent) const;  // positive integer
  [[nodiscard]] double number(const char* key, double absent) const;
  [[nodiscard]] bool flag(const char* key, bool absent) const;
  [[nodiscard]] std::string word(const char* key, std::string_view absent) const;
  [[nodiscard]] std::int64_t token_id(
      const char* key) const;  // the first of a list; -1 when absent

  // The one of the two names that the file uses; the key when it uses none.
  [[nodiscard]] std::string_view name_used(SettingName name) const;
  // Throws DataError: "<path>: <key> is <found>, <what>", with the name the file uses.
  [[noreturn]] void refuse(SettingName name, std::string_view what) const;

 private:
  [[nodiscard]] const nlohmann::json* find(std::string_view key) const;
  std::filesystem::path path_;
  std::string text_;
  nlohmann::json values_;
};

}  // namespace refract
