#pragma once
// Where the bytes of a text on its way to the model stand in the text that was given: a normalizer
// may have put others in their place.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace refract {

class Rewriting;

struct Origin {
  const Rewriting* rewriting = nullptr;  // nullptr: the bytes are those that were given
  std::uint32_t begin = 0;               // of byte 0, in the given text or in what rewriting made

  // The place in the given text of the boundary before byte `offset`.
  [[nodiscard]] std::uint32_t place(std::uint32_t offset) const;
  [[nodiscard]] Origin at(std::uint32_t offset) const { return {rewriting, begin + offset}; }
};

// A text made from another, byte by byte kept or replaced. Text that was put in front of a
// character belongs to no byte of the source; a boundary within replaced bytes stands at their end,
// so the token that holds their first byte covers them, and a boundary at removed bytes behind
// them.
class Rewriting {
 public:
  // Drops what was made; `source` is where the text to rewrite stands.
  void start(Origin source);
  void release();  // as a new one: memory goes back
  // DataError when the text would reach 2 GiB.
  void keep(std::string_view bytes);                              // the next bytes of the source
  void replace(std::uint32_t source_bytes, std::string_view by);  // 0: an insertion

  [[nodiscard]] const std::string& text() const { return text_; }
  [[nodiscard]] Origin origin() const { return {this, 0}; }
  [[nodiscard]] std::uint32_t place(std::uint32_t boundary) const;
  [[nodiscard]] std::size_t held_bytes() const {
    return text_.capacity() + edits_.capacity() * sizeof(Edit);
  }

 private:
  void append(std::string_view bytes);
  struct Edit {
    std::uint32_t begin, end;            // bytes of text_
    std::uint32_t from_begin, from_end;  // of the source
  };
  std::string text_;
  std::vector<Edit> edits_;  // ascending
  Origin source_;
  std::uint32_t done_ = 0;        // bytes of the source
  mutable std::size_t last_ = 0;  // edit that was asked about last: boundaries come in order
};

}  // namespace refract
