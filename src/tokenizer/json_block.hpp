#pragma once
// One object of a tokenizer's JSON and where it stands in the file, so that a message names the
// key. Which keys may be absent or null follows serde's rules in the `tokenizers` library: a flag
// of a component must be there and be a boolean, those of the model may be null.
#include <simdjson.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace refract {

class JsonBlock {
 public:
  // `where` is the key path of the object, "" for the whole file. DataError when `element` is not
  // an object, or, as far as it has up to 32 keys, has one twice. The views it gives live as long
  // as the parser of `element`.
  JsonBlock(simdjson::dom::element element, std::string where);

  [[nodiscard]] bool has(std::string_view key) const;  // there and not null
  [[nodiscard]] bool flag(std::string_view key) const;
  [[nodiscard]] bool flag(std::string_view key, bool if_absent) const;
  [[nodiscard]] bool flag_or_null(std::string_view key) const;  // absent or null: false
  [[nodiscard]] std::string_view text(std::string_view key) const;
  [[nodiscard]] std::optional<std::string_view> text_if_there(std::string_view key) const;
  [[nodiscard]] std::optional<std::string_view> text_or_null(std::string_view key) const;
  [[nodiscard]] std::uint32_t number(std::string_view key) const;
  [[nodiscard]] double real_or_null(std::string_view key) const;  // absent or null: 0
  [[nodiscard]] std::optional<JsonBlock> block_or_null(std::string_view key) const;
  [[nodiscard]] JsonBlock block(std::string_view key) const;
  [[nodiscard]] std::vector<JsonBlock> blocks(std::string_view key) const;  // an array of objects
  [[nodiscard]] simdjson::dom::array array(std::string_view key) const;
  [[nodiscard]] simdjson::dom::object object() const { return object_; }
  [[nodiscard]] std::string path_of(std::string_view key) const;  // for a message
  // The id that `value`, of that key, is; DataError names the key.
  [[nodiscard]] std::uint32_t id(simdjson::dom::element value, std::string_view key) const;

 private:
  [[nodiscard]] std::optional<simdjson::dom::element> find(std::string_view key) const;
  [[nodiscard]] simdjson::dom::element get(std::string_view key) const;

  simdjson::dom::object object_;
  std::string where_;
};

// What a value is, as a message shows it: its text, shortened.
[[nodiscard]] std::string shown(simdjson::dom::element element);

}  // namespace refract
