#include <algorithm>
#include <cctype>
#include <cstdlib>

#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/pipeline/run_config.hpp"

namespace refract {
namespace {

constexpr std::string_view kFile = "file:";

std::string in_env(const char* name) {
  const char* text = std::getenv(name);
  return text ? text : "";
}

fs::path with_home(const std::string& path) {
  if (path != "~" && !path.starts_with("~/")) return path;
  return fs::path(in_env("HOME")) / path.substr(std::min<std::size_t>(2, path.size()));
}

// As huggingface_hub's constants.py does it; an empty variable is none.
fs::path hub_cache() {
  for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"})
    if (const std::string path = in_env(name); !path.empty()) return with_home(path);
  if (const std::string path = in_env("HF_HOME"); !path.empty()) return with_home(path) / "hub";
  const std::string user_cache = in_env("XDG_CACHE_HOME");
  return (user_cache.empty() ? with_home("~/.cache") : with_home(user_cache)) / "huggingface" /
         "hub";
}

bool is_hub_word(std::string_view text) {
  return !text.empty() && text.front() != '.' && text.front() != '-' &&
         std::ranges::all_of(text, [](unsigned char c) {
           return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
         });
}

// <owner>/<name>, or <name> alone as the oldest models have it.
bool is_hub_name(std::string_view id) {
  const std::size_t slash = id.find('/');
  if (slash == std::string_view::npos) return is_hub_word(id);
  return is_hub_word(id.substr(0, slash)) && is_hub_word(id.substr(slash + 1));
}

// Also refs/pr/1.
bool is_revision(std::string_view text) {
  while (text.find('/') != std::string_view::npos) {
    if (!is_hub_word(text.substr(0, text.find('/')))) return false;
    text.remove_prefix(text.find('/') + 1);
  }
  return is_hub_word(text);
}

struct HubModel {
  std::string id, revision;
};

HubModel hub_model(const std::string& setting) {
  const std::size_t at = setting.find('@');
  return {setting.substr(0, at), at == std::string::npos ? "main" : setting.substr(at + 1)};
}

}  // namespace

void check_model_setting(const RunConfig& c) {
  std::error_code ignored;
  if (c.model.starts_with(kFile)) {
    if (c.model.size() == kFile.size())
      throw ConfigError("{}: model is 'file:'; a folder must follow", where_given(c, "model"));
    return;
  }
  const HubModel hub = hub_model(c.model);
  const bool is_path = c.model.starts_with("/") || c.model.starts_with("./") ||
                       c.model.starts_with("../") || c.model.starts_with("~") ||
                       std::ranges::count(hub.id, '/') > 1 || fs::is_directory(c.model, ignored);
  if (is_path)
    throw ConfigError("{}: model is '{}', a path; write file:{}", where_given(c, "model"), c.model,
                      with_home(c.model).string());
  if (!is_hub_name(hub.id) || !is_revision(hub.revision))
    throw ConfigError("{}: model is '{}'; expected file:<folder>, or <owner>/<name>[@revision]",
                      where_given(c, "model"), c.model);
}

std::filesystem::path model_folder(const RunConfig& c) {
  check_model_setting(c);
  std::error_code ignored;
  if (c.model.starts_with(kFile)) {
    const fs::path folder = c.model.substr(kFile.size());
    if (!fs::is_directory(folder, ignored))
      throw DataError(
          "{}: model is '{}', and there is no such folder. Give the folder that holds config.json "
          "and *.safetensors.",
          where_given(c, "model"), c.model);
    return folder;
  }
  const HubModel hub = hub_model(c.model);
  std::string name = "models--" + hub.id;
  for (std::size_t at; (at = name.find('/')) != std::string::npos;) name.replace(at, 1, "--");
  const fs::path cache = hub_cache(), repository = cache / name;
  std::string commit = hub.revision;
  if (const fs::path ref = repository / "refs" / hub.revision; fs::is_regular_file(ref, ignored)) {
    commit = read_file(ref);
    std::erase_if(commit, [](unsigned char ch) { return std::isspace(ch) != 0; });
  }
  const fs::path snapshot = repository / "snapshots" / commit;
  if (commit.empty() || !fs::is_directory(snapshot, ignored))
    throw ConfigError(
        "{}: model '{}' is not in the local Hugging Face cache ({}). Fetch it there "
        "(huggingface-cli download {}{}), or give file:<folder>.",
        where_given(c, "model"), c.model, cache.string(), hub.id,
        hub.revision == "main" ? "" : " --revision " + hub.revision);
  return snapshot;
}

std::string model_public_name(const RunConfig& c, const std::string& name_or_path,
                              const std::string& folder_name) {
  if (!c.model.starts_with(kFile)) return hub_model(c.model).id;
  return is_hub_name(name_or_path) ? name_or_path : folder_name;
}

}  // namespace refract
