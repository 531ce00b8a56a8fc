#include "refract/corpus/document.hpp"

#include <fmt/format.h>

#include "corpus/clean_text.hpp"
#include "refract/base/digest.hpp"

namespace refract {

std::string CleaningRules::canonical() const {
  std::string lines = fmt::format("min_chars {}\nproject {}\n", min_chars, project);
  for (const std::string& section : drop_sections)
    lines += fmt::format("drop_section {}\n", section_key(section));
  return lines;
}

void CorpusCounts::add(const CorpusCounts& other) {
  records += other.records;
  kept += other.kept;
  redirects += other.redirects;
  too_short += other.too_short;
  rejected += other.rejected;
  duplicates += other.duplicates;
  repaired_bytes += other.repaired_bytes;
}

std::uint64_t document_key(std::string_view project, std::uint64_t page_id, std::string_view text) {
  const std::string identity =
      page_id != 0 ? fmt::format("page\n{}\n{}", project, page_id) : "text\n" + fold_text(text);
  return xxh3(std::as_bytes(std::span(identity)));
}

}  // namespace refract
