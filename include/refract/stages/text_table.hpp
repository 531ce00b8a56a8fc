#pragma once
#include <string>
#include <vector>

namespace refract {

// Of cells that a person reads.
struct TextTable {
  std::string title, note;
  std::vector<std::string> columns;
  std::vector<std::vector<std::string>> rows;
};

}  // namespace refract
