#pragma once
// Fourth component of the pipeline: a word -> ids, by merges of lowest rank first, leftmost on
// ties. Matches models/bpe of the `tokenizers` library with its cache off.
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/byte_level.hpp"
#include "tokenizer/code_points.hpp"
#include "tokenizer/merge_table.hpp"
#include "tokenizer/model_file.hpp"
#include "tokenizer/safe_cuts.hpp"

namespace refract {

// A token and the bytes of the word it covers.
struct WordToken {
  std::uint32_t id;
  std::uint32_t begin;
  std::uint32_t end;
};

class BpeModel {
 public:
  // DataError names a merge of unknown parts.
  BpeModel(ModelFile file, Spelling spelling);

  // Appends the word's tokens. What has no entry becomes byte tokens or the unknown token where the
  // file has them, else it vanishes, as in the library. DataError when the unknown token is needed
  // and is not in the vocabulary.
  void encode(std::string_view word, std::vector<WordToken>& out) const {
    if (!encode_whole(word, out)) merge(word, out);
  }
  // As encode, for a part of a word that `cuts` has cut: it is never taken whole.
  void merge(std::string_view part, std::vector<WordToken>& out) const;

  [[nodiscard]] const SafeCuts& cuts() const { return cuts_; }
  [[nodiscard]] bool takes_whole_words() const { return ignore_merges_; }
  // With ignore_merges: a word that is an entry is that token, whatever the merges say.
  bool encode_whole(std::string_view word, std::vector<WordToken>& out) const;

  [[nodiscard]] const Vocabulary& vocabulary() const { return vocabulary_; }
  [[nodiscard]] bool byte_fallback() const { return byte_fallback_; }
  [[nodiscard]] Spelling spelling() const { return spelling_; }

 private:
  void read_merges(const ModelFile& file);
  void find_symbols();
  [[nodiscard]] bool knows_all_bytes() const;
  class Symbols;
  void append_symbols(std::string_view word, std::vector<WordToken>& out) const;
  // Merge in place and return how many symbols are left, at the front.
  [[nodiscard]] std::size_t merge_short(std::span<WordToken> symbols) const;
  [[nodiscard]] std::size_t merge_long(std::span<WordToken> symbols) const;

  Spelling spelling_;
  Vocabulary vocabulary_;
  std::string unk_token_;
  bool byte_fallback_, fuse_unk_, ignore_merges_;
  MergeTable merges_;
  std::array<std::uint32_t, 256> byte_id_;      // Spelling::bytes: the entry of each byte
  CodePoints symbols_;                          // Spelling::characters: of each character
  std::array<std::uint32_t, 256> fallback_id_;  // of "<0x00>" to "<0xFF>"
  SafeCuts cuts_;
};

}  // namespace refract
