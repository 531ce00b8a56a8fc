#pragma once
// What a BPE model is made of, whichever files it came from.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tokenizer/vocabulary.hpp"

namespace refract {

class JsonBlock;

struct ModelFile {
  Vocabulary vocabulary;
  // Views into the file. A pair that is repeated has the rank of the last.
  std::vector<std::pair<std::string_view, std::string_view>> merges;
  std::string unk_token;  // "": none
  bool byte_fallback = false, fuse_unk = false, ignore_merges = false;
};

// The "model" block of tokenizer.json. DataError names the key that is wrong or not supported.
[[nodiscard]] ModelFile read_model(const JsonBlock& block);
// An object of entry -> id.
void read_vocabulary(const JsonBlock& entries, Vocabulary& out);
// "left right"; nothing for a comment ("#version: 0.2"), which the library skips anywhere.
// DataError names `where` otherwise.
[[nodiscard]] std::optional<std::pair<std::string_view, std::string_view>> read_merge(
    std::string_view line, std::string_view where);

}  // namespace refract
