#include <fmt/ranges.h>

#include "refract/base/error.hpp"
#include "tokenizer/json_block.hpp"
#include "tokenizer/pattern.hpp"
#include "tokenizer/pre_tokenizer.hpp"
#include "tokenizer/split_by.hpp"

namespace refract {
namespace {

class SplitAtText : public PreTokenizer {
 public:
  SplitAtText(std::string_view text, SplitBehavior behavior, bool invert)
      : text_(text), behavior_(behavior), invert_(invert) {}

  void split(const Piece& piece, WordConsumer& next) const override {
    split_at(text_, piece, behavior_, !invert_, next);
  }

 private:
  std::string text_;
  SplitBehavior behavior_;
  bool invert_;
};

// The known patterns match everywhere: their words cover a text.
class SplitByPattern : public PreTokenizer {
 public:
  explicit SplitByPattern(SplitFunction words) : words_(words) {}
  void split(const Piece& piece, WordConsumer& next) const override { words_(piece, next); }

 private:
  SplitFunction words_;
};

SplitBehavior behavior_of(const JsonBlock& block) {
  constexpr std::pair<std::string_view, SplitBehavior> kKnown[] = {
      {"Removed", SplitBehavior::removed},
      {"Isolated", SplitBehavior::isolated},
      {"MergedWithPrevious", SplitBehavior::merged_with_previous},
      {"MergedWithNext", SplitBehavior::merged_with_next},
      {"Contiguous", SplitBehavior::contiguous}};
  const std::string_view name = block.text("behavior");
  std::vector<std::string_view> names;
  for (const auto& [known, behavior] : kKnown) {
    if (known == name) return behavior;
    names.push_back(known);
  }
  throw DataError("{} is '{}', known: {}", block.path_of("behavior"), name, fmt::join(names, ", "));
}

std::unique_ptr<PreTokenizer> split_by_pattern(const JsonBlock& pattern, SplitBehavior behavior,
                                               bool invert) {
  const SplitFunction words = pattern_named(pattern);
  if (behavior == SplitBehavior::contiguous) return nullptr;  // all is match: one word
  if (behavior == SplitBehavior::removed && !invert)
    throw DataError("{} removes all text: its pattern matches everywhere",
                    pattern.path_of("Regex"));
  return std::make_unique<SplitByPattern>(words);
}

}  // namespace

std::unique_ptr<PreTokenizer> make_split(const JsonBlock& block) {
  const JsonBlock pattern = block.block("pattern");
  const SplitBehavior behavior = behavior_of(block);
  const bool invert = block.flag("invert");
  if (pattern.object().size() != 1)
    throw DataError("{} is not one of String and Regex", block.path_of("pattern"));
  const auto text = pattern.text_if_there("String");
  if (!text) return split_by_pattern(pattern, behavior, invert);
  if (text->empty()) throw DataError("{} is empty", pattern.path_of("String"));
  return std::make_unique<SplitAtText>(*text, behavior, invert);
}

}  // namespace refract
