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

std::string CorpusCounts::losses() const {
  std::string causes;
  const auto add = [&causes](std::uint64_t count, std::string_view one, std::string_view many) {
    if (count > 0)
      causes += fmt::format("{}{} {}", causes.empty() ? "" : ", ", count, count == 1 ? one : many);
  };
  add(too_short, "too short (source.min_chars)", "too short (source.min_chars)");
  add(redirects, "redirect", "redirects");
  add(duplicates, "repeated page (the highest revision is kept)",
      "repeated pages (the highest revision is kept)");
  add(rejected, "without text or sections", "without text or sections");
  if (!causes.empty()) causes = "; dropped: " + causes;
  if (repaired_bytes > 0)
    causes += fmt::format("; {} ill-formed bytes replaced by U+FFFD", repaired_bytes);
  if (causes.empty()) return "";
  return fmt::format("{} of {} records kept{}", kept - duplicates, records, causes);
}

std::uint64_t document_key(std::string_view project, std::uint64_t page_id, std::string_view text) {
  const std::string identity =
      page_id != 0 ? fmt::format("page\n{}\n{}", project, page_id) : "text\n" + fold_text(text);
  return xxh3(std::as_bytes(std::span(identity)));
}

}  // namespace refract
