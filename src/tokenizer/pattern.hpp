#pragma once
// The regular expressions that tokenizers cut words by, each as a scanner written by hand: a file's
// pattern is known by its exact text, any other is refused. In all of them every character belongs
// to a match, so the words cover the piece. Classes are those of unicode_tables.hpp.
#include <cstdint>

#include "tokenizer/pre_tokenizer.hpp"

namespace refract {

using SplitFunction = void (*)(const Piece& piece, WordConsumer& next);

//   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
void split_gpt2(const Piece& piece, WordConsumer& next);
//   (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|
//   \s*[\r\n]+|\s+(?!\S)|\s+
void split_llama3(const Piece& piece, WordConsumer& next);
// As Llama 3, but each \p{N} is a word.
void split_qwen2(const Piece& piece, WordConsumer& next);

// The scanner for pattern.Regex; DataError names the pattern and the models whose patterns are
// known.
[[nodiscard]] SplitFunction pattern_named(const JsonBlock& pattern);

}  // namespace refract
