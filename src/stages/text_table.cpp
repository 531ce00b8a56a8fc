#include "refract/stages/text_table.hpp"

#include <algorithm>

namespace refract {
namespace {

using Cells = std::vector<std::string>;

// No cell may end a cell or a line of Markdown.
std::string in_markdown(const std::string& cell) {
  std::string text;
  for (const char c : cell) {
    if (c == '|') text += '\\';
    text += c == '\n' ? ' ' : c;
  }
  return text;
}

std::string markdown_line(const Cells& cells) {
  std::string line = "|";
  for (const std::string& cell : cells) line.append(" ").append(in_markdown(cell)).append(" |");
  return line + "\n";
}

std::string in_csv(const std::string& cell) {
  if (cell.find_first_of(",\"\n\r") == std::string::npos) return cell;
  std::string text = "\"";
  for (const char c : cell) text += c == '"' ? "\"\"" : std::string(1, c);
  return text + "\"";
}

std::string csv_line(const Cells& cells) {
  std::string line;
  for (std::size_t i = 0; i < cells.size(); ++i)
    line.append(i == 0 ? "" : ",").append(in_csv(cells[i]));
  return line + "\n";
}

}  // namespace

std::string to_markdown(const TextTable& table) {
  std::string text = markdown_line(table.columns) + "|";
  for (std::size_t i = 0; i < table.columns.size(); ++i) text += "---|";
  text += "\n";
  for (const Cells& row : table.rows) text += markdown_line(row);
  return text;
}

std::string to_csv(const TextTable& table) {
  std::string text = csv_line(table.columns);
  for (const Cells& row : table.rows) text += csv_line(row);
  return text;
}

}  // namespace refract
