#pragma once
// config.json of a Hugging Face model folder: typed values with the class defaults, errors that
// name the field.
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

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
  [[nodiscard]] std::size_t whole_number(const char* key, std::size_t absent) const;  // 0 too
  [[nodiscard]] double number(SettingName name, double absent) const;
  [[nodiscard]] bool flag(const char* key, bool absent) const;
  [[nodiscard]] std::string word(const char* key, std::string_view absent) const;
  // The first of a list; -1 for null.
  [[nodiscard]] std::int64_t token_id(const char* key, std::int64_t absent = -1) const;
  [[nodiscard]] bool has(const char* key) const { return find(std::string_view(key)) != nullptr; }
  [[nodiscard]] bool is_null(const char* key) const;  // there, and null
  [[nodiscard]] bool is_empty() const { return values_.empty(); }
  [[nodiscard]] const nlohmann::json* value(const char* key) const {  // null: absent or null
    return find(std::string_view(key));
  }
  // A list of strings; empty when absent.
  [[nodiscard]] std::vector<std::string> words(const char* key) const;
  // An object within this one; messages name its keys by their path. Nothing when absent.
  [[nodiscard]] std::optional<ModelConfig> section(const char* key) const;

  // The one of the two names that the file uses; the key when it uses none.
  [[nodiscard]] std::string_view name_used(SettingName name) const;
  // Throws DataError: "<path>: <key> is <found>, <what>", with the name the file uses.
  [[noreturn]] void refuse(SettingName name, std::string_view what) const;

 private:
  ModelConfig() = default;
  [[nodiscard]] const nlohmann::json* find(std::string_view key) const;
  // The value under either name; refused where they differ.
  [[nodiscard]] const nlohmann::json* find(SettingName name) const;
  std::filesystem::path path_;
  std::string text_;
  std::string within_;  // "rope_scaling." in that section
  nlohmann::json values_;
};

}  // namespace refract
