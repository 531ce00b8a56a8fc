#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "refract/base/error.hpp"
#include "tokenizer/pre_tokenizer.hpp"

namespace refract {
namespace {

struct Row {
  std::string_view type;
  std::unique_ptr<PreTokenizer> (*make)(const nlohmann::json& block);
};

constexpr Row kRows[] = {
    {"ByteLevel", make_byte_level},
};

}  // namespace

std::unique_ptr<PreTokenizer> make_pre_tokenizer(const nlohmann::json& block) {
  const std::string type = block.is_object() ? block.value("type", "") : "null";
  std::vector<std::string_view> known;
  for (const Row& row : kRows) {
    if (row.type == type) return row.make(block);
    known.push_back(row.type);
  }
  throw DataError(
      "tokenizer.json asks for the pre-tokenizer '{}', known: {}. Use a model whose tokenizer has "
      "one of these, or add a row to src/tokenizer/pre_tokenizer_table.cpp",
      type, fmt::join(known, ", "));
}

}  // namespace refract
