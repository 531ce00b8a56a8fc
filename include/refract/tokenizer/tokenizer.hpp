#pragma once
// Text -> token ids, bit-identical with the Hugging Face `tokenizers` library reading the same
// tokenizer.json. A tokenizer is a pipeline: added tokens cut out of the text, a pre-tokenizer
// splitting the rest into words, a model that turns a word into ids. What a file asks for and
// refract does not have is refused by name.
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
// multi-byte character; its span is exact all the same. Spans are contiguous and cover the text
// from 0 to its size.
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
  // than 4 GiB. Safe to call from many threads.
  virtual void encode(std::string_view text, std::vector<TokenSpan>& out) const = 0;

  // The bytes one token stands for; may be part of a character. Throws DataError for an id out of
  // range.
  [[nodiscard]] virtual std::string decode_bytes(std::uint32_t id) const = 0;
  // The exact string of tokenizer.json -> id; e.g. "<|endoftext|>".
  [[nodiscard]] virtual std::optional<std::uint32_t> id_of(std::string_view content) const = 0;
  [[nodiscard]] virtual bool is_special(std::uint32_t id) const = 0;
  // The largest id + 1: what an embedding table must have rows for.
  [[nodiscard]] virtual std::uint32_t size() const = 0;
  // short_digest of the bytes of tokenizer.json.
  [[nodiscard]] virtual std::string digest() const = 0;

  // The ids alone.
  [[nodiscard]] std::vector<std::uint32_t> encode_ids(std::string_view text) const;
  // The bytes of a sequence of tokens.
  [[nodiscard]] std::string decode(std::span<const std::uint32_t> ids) const;
};

// Reads <folder>/tokenizer.json, or the file itself. DataError when it cannot be read or asks for a
// component that refract does not have; the message names the component and those it has.
[[nodiscard]] std::unique_ptr<Tokenizer> load_tokenizer(
    const std::filesystem::path& folder_or_json);

}  // namespace refract
