#include <fmt/ranges.h>

#include "refract/base/error.hpp"
#include "tokenizer/json_block.hpp"
#include "tokenizer/pattern.hpp"

namespace refract {
namespace {

struct Row {
  std::string_view model;
  std::string_view pattern;
  SplitFunction words;
};

constexpr Row kRows[] = {
    {"GPT-2", R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)",
     split_gpt2},
    {"Llama 3",
     R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
     R"(|\s*[\r\n]+|\s+(?!\S)|\s+)",
     split_llama3},
    {"Qwen 2",
     R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
     R"(|\s*[\r\n]+|\s+(?!\S)|\s+)",
     split_qwen2},
};

}  // namespace

SplitFunction pattern_named(const JsonBlock& pattern) {
  const std::string_view text = pattern.text("Regex");
  std::vector<std::string_view> known;
  for (const Row& row : kRows) {
    if (row.pattern == text) return row.words;
    known.push_back(row.model);
  }
  throw DataError(
      "{} is \"{}\", which is none of the known patterns, those of {}. Use a model with one of "
      "them, or add a scanner and a row to src/tokenizer/pattern_table.cpp",
      pattern.path_of("Regex"), text, fmt::join(known, ", "));
}

}  // namespace refract
