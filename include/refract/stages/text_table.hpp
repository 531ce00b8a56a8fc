#pragma once
#include <string>
#include <vector>

namespace refract {

// Of cells that a person reads.
struct TextTable {
  std::string title, note;
  bool folded = false;  // in the report: shown by its title until it is asked for
  std::vector<std::string> columns;
  std::vector<std::vector<std::string>> rows;
};

// Columns and rows alone: a table of GitHub's Markdown; RFC 4180 with line feeds.
[[nodiscard]] std::string to_markdown(const TextTable& table);
[[nodiscard]] std::string to_csv(const TextTable& table);

}  // namespace refract
