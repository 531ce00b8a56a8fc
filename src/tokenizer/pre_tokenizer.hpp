#pragma once
// Second component of the pipeline: cuts a stretch of text between added tokens into words. Merges
// never cross a word's edge.
#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace refract {

struct Word {
  std::uint32_t begin;
  std::uint32_t end;
};

// The words of one stretch. `text` is the stretch itself, or `rewritten` when a component added
// `prepended` bytes in front of it; words index `text`.
struct Words {
  std::string_view text;
  std::string rewritten;
  std::uint32_t prepended = 0;
  std::vector<Word> words;
};

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  // Replaces the content of `out`; the stretch is not empty.
  virtual void split(std::string_view stretch, Words& out) const = 0;
};

// The row of the table that bears the "type" of the tokenizer.json block; DataError lists the rows
// otherwise.
[[nodiscard]] std::unique_ptr<PreTokenizer> make_pre_tokenizer(const nlohmann::json& block);
[[nodiscard]] std::unique_ptr<PreTokenizer> make_byte_level(const nlohmann::json& block);

// Words of GPT-2's pattern
//   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
// appended to `words`; they cover the text.
void split_gpt2(std::string_view text, std::vector<Word>& words);

}  // namespace refract
