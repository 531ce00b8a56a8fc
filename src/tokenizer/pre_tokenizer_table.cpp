#include <algorithm>

#include "refract/base/error.hpp"
#include "tokenizer/component_table.hpp"
#include "tokenizer/json_block.hpp"
#include "tokenizer/pre_tokenizer.hpp"

namespace refract {
namespace {

struct Row {
  std::string_view type;
  std::unique_ptr<PreTokenizer> (*make)(const JsonBlock& block);
};

constexpr Row kRows[] = {
    {"ByteLevel", make_byte_level},
    {"Digits", make_digits},
    {"Metaspace", make_metaspace},
    {"Split", make_split},
};

}  // namespace

PreTokenizers::PreTokenizers(const JsonBlock& block) { append(block); }

void PreTokenizers::append(const JsonBlock& block) {
  const std::string_view type = block.text("type");
  if (type == "Sequence") {
    for (const JsonBlock& part : block.blocks("pretokenizers")) append(part);
    return;
  }
  if (spelling_ == Spelling::bytes)
    throw DataError("{} is '{}' behind a ByteLevel: only the last pre-tokenizer may be one",
                    block.path_of("type"), type);
  const Row& row = row_of(kRows, block, "src/tokenizer/pre_tokenizer_table.cpp");
  if (auto part = row.make(block)) parts_.push_back(std::move(part));
  if (type == "ByteLevel") spelling_ = Spelling::bytes;
}

// Hands each word of one part to the next part, as a piece of its own.
class PreTokenizers::Link : public WordConsumer {
 public:
  Link(const PreTokenizers& parts, std::size_t next, WordConsumer& last)
      : parts_(parts), next_(next), last_(last) {}
  void take(const Piece& piece, std::span<const Word> words) override {
    for (const Word& word : words) parts_.split_from(next_, part_of(piece, word), last_);
  }

 private:
  const PreTokenizers& parts_;
  std::size_t next_;
  WordConsumer& last_;
};

bool PreTokenizers::ask_for_the_start() const {
  return std::ranges::any_of(parts_, [](const auto& part) { return part->asks_for_the_start(); });
}

void PreTokenizers::split_from(std::size_t part, const Piece& piece, WordConsumer& last) const {
  if (part == parts_.size()) {
    const Word whole{0, static_cast<std::uint32_t>(piece.bytes.size())};
    last.take(piece, {&whole, 1});
  } else if (part + 1 == parts_.size()) {
    parts_[part]->split(piece, last);
  } else {
    Link link(*this, part + 1, last);
    parts_[part]->split(piece, link);
  }
}

}  // namespace refract
