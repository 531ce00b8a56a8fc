#include "tokenizer/component_table.hpp"
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
  if (auto normalizer = row_of(kRows, block, "src/tokenizer/normalizer_table.cpp").make(block))
    out.push_back(std::move(normalizer));
}

}  // namespace

Normalizers make_normalizers(const JsonBlock& block) {
  Normalizers result;
  append(block, result);
  return result;
}

}  // namespace refract
