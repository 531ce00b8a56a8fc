#pragma once
// Token ids -> bytes: the inverse of what the pipeline did to the text, as the "decoder" block
// spells it.
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tokenizer/byte_level.hpp"

namespace refract {

class JsonBlock;

class Decoder {
 public:
  // No block: entries stand for their own bytes, or those of the spelling.
  Decoder(const std::optional<JsonBlock>& block, Spelling spelling);

  // The bytes that an entry of the vocabulary, or the content of an added token, stands for. Unlike
  // the library, which puts U+FFFD where bytes are no character yet, it gives them as they are.
  [[nodiscard]] std::string bytes_of(std::string_view entry, bool is_added) const;
  // Takes from the bytes of a whole text what was put in front of it.
  void strip(std::string& text) const;

 private:
  void append(const JsonBlock& block);

  Spelling spelling_;
  bool byte_fallback_ = false;
  std::vector<std::pair<std::string, std::string>> replaced_;  // in order: text, what it becomes
  std::string stripped_;                                       // "": nothing
  std::uint32_t strips_ = 0;                                   // times, in front
};

}  // namespace refract
