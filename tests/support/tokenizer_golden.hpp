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
#include <system_error>
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
  return data() / "tokenizer_files" / (family + ".json");
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

// A folder of this process that goes with its owner.
class Folder {
 public:
  Folder()
      : path_(fs::temp_directory_path() /
              ("refract_tokenizer_golden." + std::to_string(getpid()))) {
    fs::create_directories(path_);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(path_ / name, std::ios::binary) << text;
  }
  [[nodiscard]] const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

// A tokenizer from the text of its tokenizer.json.
inline std::unique_ptr<Tokenizer> load_text(const std::string& text) {
  const Folder folder;
  folder.write("tokenizer.json", text);
  return load_tokenizer(folder.path());
}

// A family's vocabulary and merges from two files of these names, after edits: [part, before,
// after], where "vocab" and "merges" are the parts and the first place is replaced.
inline std::unique_ptr<Tokenizer> load_pair(const std::string& family,
                                            const std::vector<std::string>& names,
                                            const json& edits) {
  const json model = json::parse(read_file(file_of(family)))["model"];
  std::string vocab = model["vocab"].dump(), merges = "#version: 0.2\n";
  for (const json& merge : model["merges"]) merges += merge.get<std::string>() + "\n";
  for (const json& edit : edits) {
    std::string& part = edit[0] == "vocab" ? vocab : merges;
    const auto before = edit[1].get<std::string>();
    part.replace(part.find(before), before.size(), edit[2].get<std::string>());
  }
  const Folder folder;
  folder.write(names[0], vocab);
  folder.write(names[1], merges);
  return load_tokenizer(folder.path());
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
