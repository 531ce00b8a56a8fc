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
    Splitter splitter(piece, behavior_, next);
    std::size_t done = 0;
    for (std::size_t at = piece.bytes.find(text_); at != std::string_view::npos;
         at = piece.bytes.find(text_, done)) {
      splitter.segment(static_cast<std::uint32_t>(done), static_cast<std::uint32_t>(at), invert_);
      done = at + text_.size();
      splitter.segment(static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(done), !invert_);
    }
    splitter.segment(static_cast<std::uint32_t>(done),
                     static_cast<std::uint32_t>(piece.bytes.size()), invert_);
    splitter.finish();
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
  throw DataError("{} is '{}', known: {}", block.at("behavior"), name, fmt::join(names, ", "));
}

std::unique_ptr<PreTokenizer> split_by_pattern(const JsonBlock& pattern, SplitBehavior behavior,
                                               bool invert) {
  const SplitFunction words = pattern_named(pattern);
  if (behavior == SplitBehavior::contiguous) return nullptr;  // all is match: one word
  if (behavior == SplitBehavior::removed && !invert)
    throw DataError("{} removes all text: its pattern matches everywhere", pattern.at("Regex"));
  return std::make_unique<SplitByPattern>(words);
}

}  // namespace

std::unique_ptr<PreTokenizer> make_split(const JsonBlock& block) {
  const JsonBlock pattern = block.block("pattern");
  const SplitBehavior behavior = behavior_of(block);
  const bool invert = block.flag("invert");
  if (pattern.object().size() != 1)
    throw DataError("{} is not one of String and Regex", block.at("pattern"));
  const auto text = pattern.text_if_there("String");
  if (!text) return split_by_pattern(pattern, behavior, invert);
  if (text->empty()) throw DataError("{} is empty", pattern.at("String"));
  return std::make_unique<SplitAtText>(*text, behavior, invert);
}

}  // namespace refract
