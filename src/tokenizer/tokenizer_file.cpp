#include "tokenizer/tokenizer_file.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "refract/base/digest.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "tokenizer/json_block.hpp"

namespace refract {
namespace {

// The library knows these keys and refuses any other, so that nothing newer is silently ignored.
// "truncation" and "padding" are ignored, for a corpus is encoded whole, and so is
// "post_processor", which adds special tokens: they are the packing's affair.
void check_keys(const JsonBlock& root) {
  constexpr std::array<std::string_view, 9> kKeys = {
      "version",       "truncation",     "padding", "added_tokens", "normalizer",
      "pre_tokenizer", "post_processor", "decoder", "model"};
  for (const auto [key, value] : root.object())
    if (std::ranges::find(kKeys, key) == kKeys.end())
      throw DataError("'{}' is unknown, known: {}", key, fmt::join(kKeys, ", "));
  if (const auto version = root.text_if_there("version"); version && *version != "1.0")
    throw DataError("version is '{}', known: 1.0", *version);
}

TokenizerFile read_json(const fs::path& path) {
  TokenizerFile out;
  out.text = std::make_unique<const std::string>(read_file(path));
  out.digest = short_digest(*out.text);
  const JsonBlock root(parse_json(out.parser, *out.text), "");
  check_keys(root);
  read_pipeline(root, out);
  out.model = read_model(root.block("model"));
  if (!root.object()["added_tokens"].error())
    for (const JsonBlock& block : root.blocks("added_tokens"))
      out.added.push_back(read_added_token(block, block.number("id")));
  return out;
}

}  // namespace

simdjson::dom::element parse_json(simdjson::dom::parser& parser, const std::string& bytes) {
  simdjson::dom::element root;
  if (const auto error = parser.parse(bytes).get(root); error != simdjson::SUCCESS)
    throw DataError("is no JSON: {}; fetch it again", simdjson::error_message(error));
  return root;
}

AddedToken read_added_token(const JsonBlock& block, std::uint32_t id) {
  return {id,
          std::string(block.text("content")),
          block.flag("single_word"),
          block.flag("lstrip"),
          block.flag("rstrip"),
          block.flag("normalized"),
          block.flag("special")};
}

void read_pipeline(const JsonBlock& root, TokenizerFile& out) {
  if (const auto block = root.block_or_null("normalizer"))
    out.normalizers = make_normalizers(*block);
  if (const auto block = root.block_or_null("pre_tokenizer"))
    out.pre_tokenizers = PreTokenizers(*block);
  // The library asks whether the piece's first character was the given text's first; a normalizer
  // that puts text in the place of other text does not keep that.
  const bool keeps = std::ranges::all_of(
      out.normalizers, [](const auto& normalizer) { return normalizer->keeps_the_start(); });
  if (out.pre_tokenizers.ask_for_the_start() && !keeps)
    throw DataError(
        "pre_tokenizer.prepend_scheme is 'first' behind a normalizer other than NFC, which is not "
        "supported");
  out.decoder.emplace(root.block_or_null("decoder"), out.pre_tokenizers.spelling());
}

TokenizerFile read_tokenizer_file(const fs::path& folder_or_json) {
  if (!fs::is_directory(folder_or_json)) return read_json(folder_or_json);
  const fs::path json = folder_or_json / "tokenizer.json";
  if (is_there(json)) return read_json(json);
  for (const auto& [vocabulary, merges] :
       {std::pair("vocab.json", "merges.txt"), std::pair("encoder.json", "vocab.bpe")})
    if (is_there(folder_or_json / vocabulary) && is_there(folder_or_json / merges))
      return read_pair(folder_or_json, folder_or_json / vocabulary, folder_or_json / merges);
  throw DataError(
      "holds no tokenizer.json, nor vocab.json and merges.txt, nor encoder.json and vocab.bpe; "
      "fetch the model's tokenizer.json, or save one with transformers "
      "(AutoTokenizer.from_pretrained(...).save_pretrained(...))");
}

}  // namespace refract
