#pragma once
// tests/data/tokenizer_families_golden.json: what Hugging Face `tokenizers` makes of the families'
// tokenizers and of edits of their files (tests/data/make_tokenizer_families_golden.py).
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "refract/base/digest.hpp"
#include "refract/base/file.hpp"
#include "refract/tokenizer/tokenizer.hpp"

namespace refract::tokenizer_golden {

using nlohmann::json;

inline fs::path data() { return fs::path(REFRACT_SOURCE_DIR) / "tests/data"; }

inline const json& golden() {
  static const json file = json::parse(read_file(data() / "tokenizer_families_golden.json"));
  return file;
}

inline fs::path file_of(const std::string& family) {
  return data() / "tokenizers" / (family + ".json");
}

// A file after an edit: "text" replaces one stretch of it, "patch" is RFC 6902's.
inline std::string edited(const std::string& text, const json& edit) {
  if (edit.contains("text")) {
    const auto before = edit["text"][0].get<std::string>();
    std::string result = text;
    return result.replace(text.find(before), before.size(), edit["text"][1].get<std::string>());
  }
  return json::parse(text).patch(edit["patch"]).dump();
}

// A tokenizer from the text of a file, written into a folder of this process.
inline std::unique_ptr<Tokenizer> load_text(const std::string& text) {
  const fs::path folder =
      fs::temp_directory_path() / ("refract_tokenizer_golden." + std::to_string(getpid()));
  fs::create_directories(folder);
  std::ofstream(folder / "tokenizer.json", std::ios::binary) << text;
  auto tokenizer = load_tokenizer(folder);
  fs::remove_all(folder);
  return tokenizer;
}

// A string, {"repeat": s, "count": n}, or {"base64": n}: characters by the high six bits of a
// linear congruence modulo 2^32.
inline std::string text_of(const json& recipe) {
  if (recipe.is_string()) return recipe;
  std::string text;
  if (recipe.contains("repeat")) {
    const auto part = recipe["repeat"].get<std::string>();
    const auto count = recipe["count"].get<std::size_t>();
    text.reserve(part.size() * count);
    for (std::size_t i = 0; i < count; ++i) text += part;
    return text;
  }
  constexpr std::string_view kCharacters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::uint32_t state = 1;
  for (auto left = recipe["base64"].get<std::size_t>(); left > 0; --left) {
    state = state * 1664525u + 1013904223u;
    text += kCharacters[state >> 26];
  }
  return text;
}

// Digest of the ids of each text as u32, little-endian, their count before them.
inline std::string digest_of_ids(const Tokenizer& tokenizer,
                                 const std::vector<std::string>& texts) {
  std::string bytes;
  for (const std::string& text : texts) {
    const auto ids = tokenizer.encode_ids(text);
    const auto count = static_cast<std::uint32_t>(ids.size());
    bytes.append(reinterpret_cast<const char*>(&count), sizeof count);
    bytes.append(reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof(std::uint32_t));
  }
  return short_digest(bytes);
}

// The texts that every family is given, then its own.
inline std::vector<std::string> texts_of(const json& family) {
  auto texts = golden()["texts"].get<std::vector<std::string>>();
  for (const json& text : family["texts"]) texts.push_back(text);
  return texts;
}

}  // namespace refract::tokenizer_golden
