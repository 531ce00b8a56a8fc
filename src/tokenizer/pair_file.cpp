// The older pair of files: a vocabulary, and a list of merges.
#include <fmt/ranges.h>

#include <algorithm>

#include "refract/base/digest.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "tokenizer/json_block.hpp"
#include "tokenizer/tokenizer_file.hpp"

namespace refract {
namespace {

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
  std::size_t number = 0;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    ++number;
    if (line.empty()) continue;
    if (const auto parts = read_merge(line, fmt::format("line {} of the merges", number)))
      out.merges.push_back(*parts);
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
      if (!is_number) throw DataError("{} is no id", listed.path_of(id));
      out.added.push_back(read_added_token(
          {token, listed.path_of(id)}, static_cast<std::uint32_t>(std::stoul(std::string(id)))));
    }
  } else if (const fs::path path = folder / "added_tokens.json"; is_there(path)) {
    const std::string bytes = read_file(path);
    all_bytes += bytes;
    simdjson::dom::parser parser;
    const JsonBlock listed(parse_json(parser, bytes), "added_tokens.json");
    for (const auto [content, id] : listed.object())
      out.added.push_back(
          {.id = listed.id(id, content), .content = std::string(content), .normalized = true});
  }
  std::ranges::sort(out.added, {}, &AddedToken::id);
  if (std::ranges::find(out.added, kEndOfText, &AddedToken::content) != out.added.end()) return;
  const Vocabulary& vocabulary = out.model.vocabulary;
  const auto is_new = [&](const AddedToken& token) {
    return vocabulary.find(token.content) == Vocabulary::kNone;
  };
  const std::uint32_t known = vocabulary.find(kEndOfText);
  const auto next =
      vocabulary.entries() + static_cast<std::uint32_t>(std::ranges::count_if(out.added, is_new));
  out.added.push_back({.id = known != Vocabulary::kNone ? known : next,
                       .content = std::string(kEndOfText),
                       .special = true});
}

}  // namespace

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
  const JsonBlock config(parse_json(config_parser, config_bytes), "tokenizer_config.json");
  const PairRow& row = pair_row(config.text_or_null("tokenizer_class").value_or("GPT2Tokenizer"));
  std::string pipeline(row.pipeline);
  if (config.flag_or_null("add_prefix_space")) {
    constexpr std::string_view kNo = R"("add_prefix_space": false)";
    pipeline.replace(pipeline.find(kNo), kNo.size(), R"("add_prefix_space": true)");
  }
  read_pipeline(JsonBlock(parse_json(pipeline_parser, pipeline), ""), out);
  read_vocabulary(JsonBlock(parse_json(out.parser, entries), vocabulary.filename().string()),
                  out.model.vocabulary);
  read_merge_lines(*out.text, out.model);
  read_pair_added(folder, config, out, all_bytes);
  out.digest = short_digest(all_bytes);
  return out;
}

}  // namespace refract
