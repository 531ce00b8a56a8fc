#include "tokenizer/model_file.hpp"

#include "refract/base/error.hpp"
#include "tokenizer/json_block.hpp"

namespace refract {
namespace {

using simdjson::dom::element;

std::optional<std::pair<std::string_view, std::string_view>> merge_from(element merge,
                                                                        const std::string& where) {
  std::string_view line;
  if (merge.get(line) == simdjson::SUCCESS) return read_merge(line, where);
  simdjson::dom::array parts;
  std::string_view left, right;
  if (merge.get(parts) != simdjson::SUCCESS || parts.size() != 2 ||
      parts.at(0).get(left) != simdjson::SUCCESS || parts.at(1).get(right) != simdjson::SUCCESS)
    throw DataError("{} has {}, expected \"left right\" or [\"left\", \"right\"]", where,
                    shown(merge));
  return std::pair(left, right);
}

void refuse_unsupported(const JsonBlock& block) {
  if (const auto type = block.text_if_there("type"); type && *type != "BPE")
    throw DataError("{} is '{}', known: BPE", block.path_of("type"), *type);
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"})
    if (const auto text = block.text_or_null(key); text && !text->empty())
      throw DataError("{} is '{}', only an empty one is supported", block.path_of(key), *text);
  if (const double dropout = block.real_or_null("dropout"); dropout != 0)
    throw DataError("{} is {}, only null is supported: ids would be random",
                    block.path_of("dropout"), dropout);
}

}  // namespace

std::optional<std::pair<std::string_view, std::string_view>> read_merge(std::string_view line,
                                                                        std::string_view where) {
  if (line.starts_with("#version")) return std::nullopt;
  const auto blank = line.find(' ');
  if (blank == std::string_view::npos || line.find(' ', blank + 1) != std::string_view::npos)
    throw DataError("{} has \"{}\", expected \"left right\"", where, line);
  return std::pair(line.substr(0, blank), line.substr(blank + 1));
}

void read_vocabulary(const JsonBlock& entries, Vocabulary& out) {
  out.reserve(entries.object().size());
  for (const auto [entry, id] : entries.object()) out.add(entry, entries.id(id, entry));
}

ModelFile read_model(const JsonBlock& block) {
  refuse_unsupported(block);
  ModelFile model;
  model.unk_token = block.text_or_null("unk_token").value_or("");
  model.byte_fallback = block.flag_or_null("byte_fallback");
  model.fuse_unk = block.flag_or_null("fuse_unk");
  model.ignore_merges = block.flag_or_null("ignore_merges");
  read_vocabulary(block.block("vocab"), model.vocabulary);
  const simdjson::dom::array merges = block.array("merges");
  model.merges.reserve(merges.size());
  const std::string where = block.path_of("merges");
  for (const element merge : merges)
    if (const auto parts = merge_from(merge, where)) model.merges.push_back(*parts);
  return model;
}

}  // namespace refract
