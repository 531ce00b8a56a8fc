#include <fmt/ranges.h>

#include "refract/base/error.hpp"
#include "tokenizer/json_block.hpp"
#include "tokenizer/normalizer.hpp"

namespace refract {
namespace {

struct Row {
  std::string_view type;
  std::unique_ptr<Normalizer> (*make)(const JsonBlock& block);
};

constexpr Row kRows[] = {
    {"NFC", make_nfc},
    {"Prepend", make_prepend},
    {"Replace", make_replace},
};

void append(const JsonBlock& block, Normalizers& out) {
  const std::string_view type = block.text("type");
  if (type == "Sequence") {
    for (const JsonBlock& part : block.blocks("normalizers")) append(part, out);
    return;
  }
  std::vector<std::string_view> known{"Sequence"};
  for (const Row& row : kRows) {
    known.push_back(row.type);
    if (row.type != type) continue;
    if (auto normalizer = row.make(block)) out.push_back(std::move(normalizer));
    return;
  }
  throw DataError(
      "{} is '{}', known: {}. Use a model whose tokenizer has one of these, or add a row to "
      "src/tokenizer/normalizer_table.cpp",
      block.path_of("type"), type, fmt::join(known, ", "));
}

}  // namespace

Normalizers make_normalizers(const JsonBlock& block) {
  Normalizers result;
  append(block, result);
  return result;
}

}  // namespace refract
