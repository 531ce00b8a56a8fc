#include "refract/corpus/source.hpp"

#include <fmt/format.h>

#include <map>

#include "corpus/clean_text.hpp"
#include "refract/base/error.hpp"

namespace refract {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// The run of digits at `at`, without leading zeros.
std::string_view number_at(std::string_view name, std::size_t at) {
  std::size_t end = at;
  while (end < name.size() && is_digit(name[end])) ++end;
  while (at + 1 < end && name[at] == '0') ++at;
  return name.substr(at, end - at);
}

std::size_t skip_number(std::string_view name, std::size_t at) {
  while (at < name.size() && is_digit(name[at])) ++at;
  return at;
}

// Of one shard, under data_root: raw, its record, what they are called while they are made; tokens.
std::vector<std::string> files_kept_of(const std::string& name) {
  std::vector<std::string> files = {"tokens/" + shard_stem(name) + ".h5"};
  for (const char* more : {"", ".part", ".claim", ".json", ".json.part"})
    files.push_back("shards/" + name + more);
  return files;
}

bool is_plain_utf8(std::string_view name) {
  std::uint64_t repaired = 0;
  (void)repair_utf8(name, repaired);
  for (const char c : name)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) return false;
  return repaired == 0;
}

}  // namespace

std::string shard_stem(const std::string& name) {
  std::filesystem::path path(name);
  for (const std::string_view known : {".gz", ".zst", ".bz2", ".xz"})
    if (path.extension() == known) path.replace_extension();
  for (const std::string_view known : {".jsonl", ".ndjson", ".json"})
    if (path.extension() == known) path.replace_extension();
  return path.string();
}

std::vector<ShardRef> list_shards(const SourceConfig& config) {
  std::vector<ShardRef> shards = make_source(config)->list_shards();
  std::map<std::string, std::string> owner = {{"shards/index.json", "the index of all shards"}};
  for (const ShardRef& shard : shards) {
    std::uint64_t ignored = 0;
    if (!is_plain_utf8(shard.name))
      throw ConfigError(
          "source.from '{}' gives a shard whose name is not UTF-8 or holds control characters: "
          "'{}'. Rename it.",
          config.from, repair_utf8(shard.name, ignored));
    for (const std::string& file : files_kept_of(shard.name)) {
      const auto [found, fresh] = owner.try_emplace(file, shard.name);
      if (!fresh)
        throw ConfigError(
            "source.from '{}' gives {} and {}, which would share the file {} under data_root. "
            "Rename one, or leave it out of source.from.",
            config.from, found->second, shard.name, file);
    }
  }
  return shards;
}

bool shard_name_less(std::string_view a, std::string_view b) {
  std::size_t i = 0, j = 0;
  while (i < a.size() && j < b.size()) {
    if (is_digit(a[i]) && is_digit(b[j])) {
      const std::string_view m = number_at(a, i), n = number_at(b, j);
      if (m != n) return m.size() != n.size() ? m.size() < n.size() : m < n;
      i = skip_number(a, i);
      j = skip_number(b, j);
    } else if (a[i] != b[j]) {
      return a[i] < b[j];
    } else {
      ++i;
      ++j;
    }
  }
  const bool a_ended = i == a.size(), b_ended = j == b.size();
  return a_ended && b_ended ? a < b : a_ended;  // "1" and "01" differ only in spelling
}

}  // namespace refract
