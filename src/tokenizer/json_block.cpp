#include "tokenizer/json_block.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "refract/base/error.hpp"

namespace refract {
namespace {

using simdjson::dom::element;

[[noreturn]] void refuse(const std::string& where, element value, std::string_view expected) {
  throw DataError("{} is {}, expected {}", where, shown(value), expected);
}

bool flag_from(element value, const std::string& where) {
  bool flag = false;
  if (value.get(flag) != simdjson::SUCCESS) refuse(where, value, "true or false");
  return flag;
}

std::string_view text_from(element value, const std::string& where) {
  std::string_view text;
  if (value.get(text) != simdjson::SUCCESS) refuse(where, value, "a text");
  return text;
}

}  // namespace

std::string shown(element value) {
  constexpr std::size_t kLength = 60;
  std::string text = simdjson::minify(value);
  if (text.size() > kLength) text = text.substr(0, kLength) + "...";
  return text;
}

JsonBlock::JsonBlock(element value, std::string where) : where_(std::move(where)) {
  if (value.get(object_) != simdjson::SUCCESS)
    refuse(where_.empty() ? "the file" : where_, value, "an object");
  constexpr std::size_t kMostKeys = 32;  // more than any block has; a vocabulary is no block
  if (object_.size() > kMostKeys) return;
  std::vector<std::string_view> seen;
  for (const auto [key, unused] : object_) {
    if (std::ranges::find(seen, key) != seen.end())
      throw DataError("{} is there twice", path_of(key));
    seen.push_back(key);
  }
}

std::string JsonBlock::path_of(std::string_view key) const {
  return where_.empty() ? std::string(key) : fmt::format("{}.{}", where_, key);
}

std::optional<element> JsonBlock::find(std::string_view key) const {
  element value;
  if (object_[key].get(value) != simdjson::SUCCESS) return std::nullopt;
  return value;
}

element JsonBlock::get(std::string_view key) const {
  const auto value = find(key);
  if (!value) throw DataError("{} is missing", path_of(key));
  return *value;
}

bool JsonBlock::has(std::string_view key) const {
  const auto value = find(key);
  return value && !value->is_null();
}

bool JsonBlock::flag(std::string_view key) const { return flag_from(get(key), path_of(key)); }

bool JsonBlock::flag(std::string_view key, bool if_absent) const {
  const auto value = find(key);
  return value ? flag_from(*value, path_of(key)) : if_absent;
}

bool JsonBlock::flag_or_null(std::string_view key) const {
  return has(key) && flag_from(get(key), path_of(key));
}

std::string_view JsonBlock::text(std::string_view key) const {
  return text_from(get(key), path_of(key));
}

std::optional<std::string_view> JsonBlock::text_if_there(std::string_view key) const {
  const auto value = find(key);
  return value ? std::optional(text_from(*value, path_of(key))) : std::nullopt;
}

std::optional<std::string_view> JsonBlock::text_or_null(std::string_view key) const {
  if (!has(key)) return std::nullopt;
  return text_from(get(key), path_of(key));
}

std::uint32_t JsonBlock::id(element value, std::string_view key) const {
  std::uint64_t number = 0;
  if (value.get(number) != simdjson::SUCCESS || number > std::numeric_limits<std::uint32_t>::max())
    refuse(path_of(key), value, "a whole number of 0 to 4294967295");
  return static_cast<std::uint32_t>(number);
}

std::uint32_t JsonBlock::number(std::string_view key) const { return id(get(key), key); }

double JsonBlock::real_or_null(std::string_view key) const {
  if (!has(key)) return 0;
  double value = 0;
  if (get(key).get(value) != simdjson::SUCCESS) refuse(path_of(key), get(key), "a number");
  return value;
}

std::optional<JsonBlock> JsonBlock::block_or_null(std::string_view key) const {
  if (!has(key)) return std::nullopt;
  return JsonBlock(get(key), path_of(key));
}

JsonBlock JsonBlock::block(std::string_view key) const { return {get(key), path_of(key)}; }

simdjson::dom::array JsonBlock::array(std::string_view key) const {
  simdjson::dom::array values;
  if (get(key).get(values) != simdjson::SUCCESS) refuse(path_of(key), get(key), "a list");
  return values;
}

std::vector<JsonBlock> JsonBlock::blocks(std::string_view key) const {
  std::vector<JsonBlock> result;
  for (const element value : array(key))
    result.emplace_back(value, fmt::format("{}.{}", path_of(key), result.size()));
  return result;
}

}  // namespace refract
