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

}  // namespace refract
