#include "corpus/source_table.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "refract/base/error.hpp"

namespace refract {
namespace {

constexpr SourceRow kRows[] = {
    {"file", "a pattern of shard files, e.g. file:shards/*.jsonl.zst", make_file_source},
};

}  // namespace

std::vector<std::string_view> source_kinds() {
  std::vector<std::string_view> kinds;
  for (const SourceRow& row : kRows) kinds.push_back(row.kind);
  return kinds;
}

std::unique_ptr<DocumentSource> make_source(const SourceConfig& config) {
  const auto colon = config.from.find(':');
  const std::string_view kind = std::string_view(config.from).substr(0, colon);
  std::string known;
  for (const SourceRow& row : kRows) {
    if (colon != std::string::npos && row.kind == kind)
      return row.make(std::string_view(config.from).substr(colon + 1));
    known += fmt::format("{}{}: ({})", known.empty() ? "" : ", ", row.kind, row.place);
  }
  throw ConfigError("source.from is '{}', expected one of {}", config.from, known);
}

}  // namespace refract
