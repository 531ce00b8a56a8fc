#pragma once
// Text -> token ids, bit-identical with the Hugging Face `tokenizers` library (0.23) reading the
// same tokenizer.json. A tokenizer is a pipeline: added tokens cut out of the text, a normalizer, a
// pre-tokenizer splitting the rest into words, a model that turns a word into ids. What a file asks
// for and refract does not have is refused by name; "truncation", "padding" and "post_processor"
// are not applied.
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace refract {

// One token and the bytes of the given text it covers, [begin, end). A token may hold part of a
// multi-byte character; its span is exact all the same. Spans ascend and are contiguous but where
// the tokenizer drops text (a character that its vocabulary lacks, a pattern it removes). Where a
// normalizer put other bytes in the place of some, the token with the first of them covers them
// all; what it added in front of a text is in no span, so a span may be empty.
struct TokenSpan {
  std::uint32_t id;
  std::uint32_t begin;
  std::uint32_t end;
  friend bool operator==(const TokenSpan&, const TokenSpan&) = default;
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // Appends the tokens of `text` to `out`. No template is applied: BOS and EOS are the packing's
  // affair. The text of an added token ("<|endoftext|>") becomes that token, as in Hugging Face.
  // The text must be valid UTF-8 (the corpus room guarantees it; DataError otherwise) and shorter
  // than 2 GiB, also where it is normalized. Safe to call from many threads. Beside `out` a call
  // needs memory for its longest word and, where text is rewritten, for the longest stretch between
  // added tokens; for the next call each thread keeps a cache of words of a fixed size (10 MiB) and
  // buffers of at most 256 KiB each. After an exception `out` may hold tokens of the text's start.
  virtual void encode(std::string_view text, std::vector<TokenSpan>& out) const = 0;

  // The bytes one token stands for; may be part of a character, or nothing for an id that no token
  // has. Throws DataError for an id out of range.
  [[nodiscard]] virtual std::string decode_bytes(std::uint32_t id) const = 0;
  // The bytes of a sequence of tokens, less the space that some tokenizers put in front of every
  // text: of an encoded text the text, unless the tokenizer loses something.
  [[nodiscard]] virtual std::string decode(std::span<const std::uint32_t> ids) const = 0;
  // The exact string of tokenizer.json -> id; e.g. "<|endoftext|>".
  [[nodiscard]] virtual std::optional<std::uint32_t> id_of(std::string_view content) const = 0;
  [[nodiscard]] virtual bool is_special(std::uint32_t id) const = 0;
  [[nodiscard]] virtual bool is_added(std::uint32_t id) const = 0;  // listed beside the vocabulary
  // Contents of the added tokens that load_tokenizer left out.
  [[nodiscard]] virtual std::vector<std::string> left_out() const = 0;
  // The largest id + 1: what an embedding table must have rows for.
  [[nodiscard]] virtual std::uint32_t size() const = 0;
  // short_digest of the bytes of tokenizer.json, or of all files that stand for it.
  [[nodiscard]] virtual std::string digest() const = 0;

  // The ids alone.
  [[nodiscard]] std::vector<std::uint32_t> encode_ids(std::string_view text) const;
};

// Reads <folder>/tokenizer.json, or the file itself; else <folder>/vocab.json and merges.txt (also
// encoder.json and vocab.bpe, as GPT-2 names them), for the classes GPT2Tokenizer and
// Qwen2Tokenizer of transformers. DataError when it cannot be read, or asks for a component that
// refract does not have; the message names the key and what is known.
//
// Added tokens with ids from `ids` on are left out, and their text is ordinary text: a model has no
// embedding for them (Gemma 3 270M's <image_soft_token>). The digest is then another.
[[nodiscard]] std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& folder_or_json,
                                                        std::uint32_t ids = 0xFFFFFFFFu);

}  // namespace refract
