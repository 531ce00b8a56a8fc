#pragma once
// What a pre-tokenizer does with the places that its pattern matches
// (`tokenizers` library, NormalizedString::split).
#include <cstdint>

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

}  // namespace refract
