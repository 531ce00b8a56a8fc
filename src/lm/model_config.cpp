#include "lm/model_config.hpp"

#include "refract/base/error.hpp"
#include "refract/base/file.hpp"

namespace refract {

ModelConfig::ModelConfig(const std::filesystem::path& folder)
    : path_(folder / "config.json"), text_(read_file(path_)) {
  values_ = nlohmann::json::parse(text_, nullptr, false);
  if (!values_.is_object()) {
    throw DataError(
        "{}: not a JSON object. A model folder holds config.json and *.safetensors as on Hugging "
        "Face.",
        path_.string());
  }
}

const nlohmann::json* ModelConfig::find(std::string_view key) const {
  const auto found = values_.find(key);
  return found == values_.end() || found->is_null() ? nullptr : &*found;
}

bool ModelConfig::is_null(const char* key) const {
  const auto found = values_.find(key);
  return found != values_.end() && found->is_null();
}

std::string_view ModelConfig::name_used(SettingName name) const {
  return !find(name.key) && find(name.alias) ? name.alias : name.key;
}

void ModelConfig::refuse(SettingName name, std::string_view what) const {
  const std::string_view key = name_used(name);
  const auto* value = find(std::string_view(key));
  throw DataError("{}: {}{} is {}, {}", path_.string(), within_, key,
                  value ? value->dump() : "absent", what);
}

const nlohmann::json* ModelConfig::find(SettingName name) const {
  const auto *own = find(name.key), *common = find(name.alias);
  if (own && common && *own != *common)
    refuse(name, fmt::format(
                     "but {} is {}, which is the same setting. Keep the one that fits the weights.",
                     name.alias, common->dump()));
  return own ? own : common;
}

std::size_t ModelConfig::size(SettingName name, std::size_t absent) const {
  const auto* value = find(name);
  if (!value) return absent;
  if (!value->is_number_unsigned() || value->get<std::size_t>() == 0)
    refuse(name, "expected a positive integer.");
  return value->get<std::size_t>();
}

std::size_t ModelConfig::whole_number(const char* key, std::size_t absent) const {
  const auto* value = find(std::string_view(key));
  if (!value) return absent;
  if (!value->is_number_unsigned()) refuse(key, "expected a whole number.");
  return value->get<std::size_t>();
}

double ModelConfig::number(SettingName name, double absent) const {
  const auto* value = find(name);
  if (!value) return absent;
  if (!value->is_number()) refuse(name, "expected a number.");
  return value->get<double>();
}

std::vector<std::string> ModelConfig::words(const char* key) const {
  const auto* value = find(std::string_view(key));
  if (!value) return {};
  std::vector<std::string> words;
  for (const auto& word : *value) {
    if (!value->is_array() || !word.is_string()) refuse(key, "expected a list of strings.");
    words.push_back(word.get<std::string>());
  }
  return words;
}

std::optional<ModelConfig> ModelConfig::section(const char* key) const {
  const auto* value = find(std::string_view(key));
  if (!value) return std::nullopt;
  if (!value->is_object()) refuse(key, "expected an object.");
  ModelConfig section;
  section.path_ = path_;
  section.within_ = fmt::format("{}{}.", within_, key);
  section.values_ = *value;
  return section;
}

bool ModelConfig::flag(const char* key, bool absent) const {
  const auto* value = find(std::string_view(key));
  if (!value) return absent;
  if (!value->is_boolean()) refuse(key, "expected true or false.");
  return value->get<bool>();
}

std::string ModelConfig::word(const char* key, std::string_view absent) const {
  const auto* value = find(std::string_view(key));
  if (!value) return std::string(absent);
  if (!value->is_string()) refuse(key, "expected a string.");
  return value->get<std::string>();
}

std::int64_t ModelConfig::token_id(const char* key, std::int64_t absent) const {
  const auto* value = find(std::string_view(key));
  if (!value) return is_null(key) ? -1 : absent;
  if (value->is_array() && !value->empty()) value = &value->front();
  if (!value->is_number_integer()) refuse(key, "expected a token id.");
  return value->get<std::int64_t>();
}

}  // namespace refract
