#pragma once
// What a pre-tokenizer does with the places that its pattern matches
// (`tokenizers` library, NormalizedString::split).
#include <cstdint>
#include <string_view>

#include "tokenizer/pre_tokenizer.hpp"

namespace refract {

enum class SplitBehavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

// Takes the segments of a piece in order, what matches and what lies between, and gives its words.
class Splitter {
 public:
  Splitter(const Piece& piece, SplitBehavior behavior, WordConsumer& next)
      : behavior_(behavior), words_(piece, next) {}

  void segment(std::uint32_t begin, std::uint32_t end, bool matches) {
    if (begin == end) return;
    if (joins(matches)) {
      open_.end = end;
    } else {
      close();
      open_ = {begin, end};
      removed_ = matches && behavior_ == SplitBehavior::removed;
    }
    first_ = false;
    matched_ = matches;
  }
  void finish() {
    close();
    words_.finish();
  }

 private:
  // Whether the next segment belongs to the open word.
  [[nodiscard]] bool joins(bool matches) const {
    if (first_) return false;
    if (behavior_ == SplitBehavior::contiguous) return matches == matched_;
    if (behavior_ == SplitBehavior::merged_with_previous) return matches && !matched_;
    return behavior_ == SplitBehavior::merged_with_next && matched_ && !matches;
  }
  void close() {
    if (!first_ && !removed_) words_.add(open_.begin, open_.end);
  }

  SplitBehavior behavior_;
  WordBatch words_;
  Word open_{};
  bool first_ = true, matched_ = false, removed_ = false;
};

// Cuts a piece at each place of a text, leftmost first; `matches`: the places are what is matched,
// else what lies between them.
inline void split_at(std::string_view text, const Piece& piece, SplitBehavior behavior,
                     bool matches, WordConsumer& next) {
  Splitter splitter(piece, behavior, next);
  std::size_t done = 0;
  for (std::size_t at = piece.bytes.find(text); at != std::string_view::npos;
       at = piece.bytes.find(text, done)) {
    splitter.segment(static_cast<std::uint32_t>(done), static_cast<std::uint32_t>(at), !matches);
    done = at + text.size();
    splitter.segment(static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(done), matches);
  }
  splitter.segment(static_cast<std::uint32_t>(done), static_cast<std::uint32_t>(piece.bytes.size()),
                   !matches);
  splitter.finish();
}

}  // namespace refract
