#include "tokenizer/decoder.hpp"

#include <charconv>

#include "refract/base/error.hpp"
#include "tokenizer/json_block.hpp"

namespace refract {
namespace {

// "<0x0A>" -> the byte.
std::optional<char> fallback_byte(std::string_view entry) {
  if (entry.size() != 6 || !entry.starts_with("<0x") || entry.back() != '>') return std::nullopt;
  unsigned value = 0;
  const char* const first = entry.data() + 3;
  const auto [end, error] = std::from_chars(first, first + 2, value, 16);
  if (error != std::errc{} || end != first + 2) return std::nullopt;
  return static_cast<char>(value);
}

std::string with_replaced(std::string_view text, std::string_view from, std::string_view to) {
  std::string result;
  for (std::size_t at = text.find(from); at != std::string_view::npos; at = text.find(from)) {
    result.append(text.substr(0, at)).append(to);
    text.remove_prefix(at + from.size());
  }
  return result.append(text);
}

}  // namespace

Decoder::Decoder(const std::optional<JsonBlock>& block, Spelling spelling) : spelling_(spelling) {
  if (block) append(*block);
}

void Decoder::append(const JsonBlock& block) {
  const std::string_view type = block.text("type");
  if (type == "Sequence") {
    for (const JsonBlock& part : block.blocks("decoders")) append(part);
  } else if (type == "ByteLevel") {
    spelling_ = Spelling::bytes;
  } else if (type == "ByteFallback") {
    byte_fallback_ = true;
  } else if (type == "Replace") {
    const JsonBlock pattern = block.block("pattern");
    const std::string_view text = pattern.text("String");
    if (text.empty()) throw DataError("{} is empty", pattern.path_of("String"));
    replaced_.emplace_back(text, block.text("content"));
  } else if (type == "Metaspace") {
    replaced_.emplace_back(block.text("replacement"), " ");
    if (block.text_or_null("prepend_scheme").value_or("always") != "never") {
      stripped_.assign(1, ' ');
      strips_ = 1;
    }
  } else if (type == "Strip") {
    stripped_ = block.text("content");
    strips_ = block.number("start");
    if (block.number("stop") != 0)
      throw DataError("{} is not 0: stripping the end is not supported", block.path_of("stop"));
  } else if (type != "Fuse") {
    throw DataError(
        "{} is '{}', known: Sequence, ByteFallback, ByteLevel, Fuse, Metaspace, Replace, Strip",
        block.path_of("type"), type);
  }
}

std::string Decoder::bytes_of(std::string_view entry, bool is_added) const {
  if (spelling_ == Spelling::bytes && !is_added)
    if (auto bytes = bytes_of_entry(entry)) return *bytes;
  if (byte_fallback_)
    if (const auto byte = fallback_byte(entry)) return {*byte};
  std::string text(entry);
  for (const auto& [from, to] : replaced_) text = with_replaced(text, from, to);
  return text;
}

void Decoder::strip(std::string& text) const {
  if (stripped_.empty()) return;
  for (std::uint32_t i = 0; i < strips_ && text.starts_with(stripped_); ++i)
    text.erase(0, stripped_.size());
}

}  // namespace refract
