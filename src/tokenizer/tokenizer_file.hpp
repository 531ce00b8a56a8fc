#pragma once
// What a tokenizer's files say, read and checked: tokenizer.json, or the older pair of a vocabulary
// and a list of merges.
#include <simdjson.h>
#include <filesystem>
#include <string>
#include <vector>

#include "tokenizer/added_tokens.hpp"
#include "tokenizer/decoder.hpp"
#include "tokenizer/model_file.hpp"
#include "tokenizer/normalizer.hpp"
#include "tokenizer/pre_tokenizer.hpp"

namespace refract {

struct TokenizerFile {
  std::string digest;  // of the bytes of all files that were read
  Normalizers normalizers;
  PreTokenizers pre_tokenizers;
  ModelFile model;
  std::vector<AddedToken> added;
  std::optional<Decoder> decoder;
  std::unique_ptr<const std::string> text;  // what views of the model point into
  simdjson::dom::parser parser;             // likewise
};

// <folder>/tokenizer.json, else <folder>/vocab.json and merges.txt, else encoder.json and vocab.bpe
// (GPT-2's own names); or a tokenizer.json by its name. DataError names the file and the key.
[[nodiscard]] TokenizerFile read_tokenizer_file(const std::filesystem::path& folder_or_json);
// The pair, and tokenizer_config.json and added_tokens.json of the folder where they are there.
[[nodiscard]] TokenizerFile read_pair(const std::filesystem::path& folder,
                                      const std::filesystem::path& vocabulary,
                                      const std::filesystem::path& merges);

// What both read. The views that JSON gives live as long as the parser.
[[nodiscard]] simdjson::dom::element parse_json(simdjson::dom::parser& parser,
                                                const std::string& bytes);
[[nodiscard]] AddedToken read_added_token(const JsonBlock& block, std::uint32_t id);
// "normalizer", "pre_tokenizer" and "decoder".
void read_pipeline(const JsonBlock& root, TokenizerFile& out);

}  // namespace refract
