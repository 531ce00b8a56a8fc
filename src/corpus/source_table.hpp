#pragma once
// One row per kind of source; a source is its file in src/corpus/source/ and its row.
#include <memory>
#include <string_view>

#include "refract/corpus/source.hpp"

namespace refract {

struct SourceRow {
  std::string_view kind;   // the word before ':' in source.from
  std::string_view place;  // what stands behind it, for messages
  std::unique_ptr<DocumentSource> (*make)(std::string_view place);
};

[[nodiscard]] std::unique_ptr<DocumentSource> make_file_source(std::string_view place);

}  // namespace refract
