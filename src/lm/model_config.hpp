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

class ModelConfig {
 public:
  explicit ModelConfig(
      const std::filesystem::path& folder);  // DataError: missing, not JSON, not an object
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] const std::string& text() const { return text_; }

  // Absent and null mean the default, as in the Hugging Face class; another type is a DataError.
  [[nodiscard]] std::size_t size(std::string_view key,
                                 std::size_t absent) const;  // positive integer
  [[nodiscard]] double number(std::string_view key, double absent) const;
  [[nodiscard]] bool flag(std::string_view key, bool absent) const;
  [[nodiscard]] std::string word(std::string_view key, std::string_view absent) const;
  [[nodiscard]] std::int64_t token_id(
      std::string_view key) const;  // the first of a list; -1 when absent

  // Throws DataError: "<path>: <key> is <found>, <what>".
  [[noreturn]] void refuse(std::string_view key, std::string_view what) const;

 private:
  [[nodiscard]] const nlohmann::json* find(std::string_view key) const;
  std::filesystem::path path_;
  std::string text_;
  nlohmann::json values_;
};

}  // namespace refract
