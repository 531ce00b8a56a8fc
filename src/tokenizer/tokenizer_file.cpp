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

simdjson::dom::element parsed(simdjson::dom::parser& parser, const std::string& bytes) {
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

void read_pipeline(const JsonBlock& root, TokenizerFile& out) {
  if (const auto block = root.block_or_null("normalizer"))
    out.normalizers = make_normalizers(*block);
  if (const auto block = root.block_or_null("pre_tokenizer"))
    out.pre_tokenizers = PreTokenizers(*block);
  out.decoder.emplace(root.block_or_null("decoder"), out.pre_tokenizers.spelling());
}

TokenizerFile read_json(const fs::path& path) {
  TokenizerFile out;
  out.text = std::make_unique<const std::string>(read_file(path));
  out.digest = short_digest(*out.text);
  const JsonBlock root(parsed(out.parser, *out.text), "");
  check_keys(root);
  read_pipeline(root, out);
  out.model = read_model(root.block("model"));
  if (!root.object()["added_tokens"].error())
    for (const JsonBlock& block : root.blocks("added_tokens"))
      out.added.push_back(read_added_token(block, block.number("id")));
  return out;
}

// ---- vocab.json and merges.txt --------------------------------------------------------------

// The pipelines that transformers builds for the classes which were published with such a pair.
struct PairRow {
  std::string_view tokenizer_class;  // tokenizer_config.json, less "Fast"
  std::string_view pipeline;
};
constexpr PairRow kPairs[] = {
    {"GPT2Tokenizer",
     R"({"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true}})"},
    {"Qwen2Tokenizer", R"json({"normalizer": {"type": "NFC"}, "pre_tokenizer": {"type": "Sequence",
      "pretokenizers": [{"type": "Split", "pattern": {"Regex":
      "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
      "behavior": "Isolated", "invert": false},
      {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false}]}})json"},
};

constexpr std::string_view kEndOfText = "<|endoftext|>";  // the special token of both

const PairRow& pair_row(std::string_view tokenizer_class) {
  if (tokenizer_class.ends_with("Fast")) tokenizer_class.remove_suffix(4);
  std::vector<std::string_view> known;
  for (const PairRow& row : kPairs) {
    if (row.tokenizer_class == tokenizer_class) return row;
    known.push_back(row.tokenizer_class);
  }
  throw DataError(
      "tokenizer_config.json: tokenizer_class is '{}'; without a tokenizer.json only {} are known. "
      "Save one with transformers (AutoTokenizer.from_pretrained(...).save_pretrained(...))",
      tokenizer_class, fmt::join(known, ", "));
}

void read_merge_lines(std::string_view text, ModelFile& out) {
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty() && !line.starts_with("#version")) out.merges.push_back(read_merge(line));
  }
}

// tokenizer_config.json's "added_tokens_decoder" (id -> token), or added_tokens.json (content ->
// id), and <|endoftext|> where neither lists it.
void read_pair_added(const fs::path& folder, const std::optional<JsonBlock>& config,
                     TokenizerFile& out, std::string& all_bytes) {
  if (config && config->has("added_tokens_decoder")) {
    const JsonBlock listed = config->block("added_tokens_decoder");
    for (const auto [id, token] : listed.object()) {
      const bool is_number = !id.empty() && id.size() < 10 &&
                             std::ranges::all_of(id, [](char c) { return c >= '0' && c <= '9'; });
      if (!is_number) throw DataError("{} is no id", listed.at(id));
      out.added.push_back(read_added_token(
          {token, listed.at(id)}, static_cast<std::uint32_t>(std::stoul(std::string(id)))));
    }
  } else if (const fs::path path = folder / "added_tokens.json"; is_there(path)) {
    const std::string bytes = read_file(path);
    all_bytes += bytes;
    simdjson::dom::parser parser;
    const JsonBlock listed(parsed(parser, bytes), "added_tokens.json");
    for (const auto [content, id] : listed.object())
      out.added.push_back({.id = id_from(id, listed.at(content)),
                           .content = std::string(content),
                           .normalized = true});
  }
  std::ranges::sort(out.added, {}, &AddedToken::id);
  const std::uint32_t id = out.model.vocabulary.find(kEndOfText);
  const bool listed = std::ranges::any_of(
      out.added, [](const AddedToken& token) { return token.content == kEndOfText; });
  if (!listed)
    out.added.insert(out.added.begin(),
                     {.id = id != Vocabulary::kNone ? id : out.model.vocabulary.entries(),
                      .content = std::string(kEndOfText),
                      .special = true});
}

TokenizerFile read_pair(const fs::path& folder, const fs::path& vocabulary,
                        const fs::path& merges) {
  TokenizerFile out;
  const std::string entries = read_file(vocabulary);
  out.text = std::make_unique<const std::string>(read_file(merges));
  std::string all_bytes = entries + *out.text;

  std::string config_bytes = "{}";
  if (const fs::path path = folder / "tokenizer_config.json"; is_there(path)) {
    config_bytes = read_file(path);
    all_bytes += config_bytes;
  }
  simdjson::dom::parser config_parser, pipeline_parser;
  const JsonBlock config(parsed(config_parser, config_bytes), "tokenizer_config.json");
  const PairRow& row = pair_row(config.text_or_null("tokenizer_class").value_or("GPT2Tokenizer"));
  std::string pipeline(row.pipeline);
  if (config.flag_or_null("add_prefix_space")) {
    constexpr std::string_view kNo = R"("add_prefix_space": false)";
    pipeline.replace(pipeline.find(kNo), kNo.size(), R"("add_prefix_space": true)");
  }
  read_pipeline(JsonBlock(parsed(pipeline_parser, pipeline), ""), out);
  read_vocabulary(JsonBlock(parsed(out.parser, entries), vocabulary.filename().string()),
                  out.model.vocabulary);
  read_merge_lines(*out.text, out.model);
  read_pair_added(folder, config, out, all_bytes);
  out.digest = short_digest(all_bytes);
  return out;
}

}  // namespace

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
