#pragma once
// Tokens added beside the vocabulary ("<|endoftext|>") are found in the text itself, leftmost and
// longest: the first component of the pipeline those in the text as given, the second, behind the
// normalizer, those whose own normal form is looked for in normalized text.
#include <array>
#include <bitset>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/normalizer.hpp"
#include "tokenizer/vocabulary.hpp"

namespace refract {

struct AddedToken {
  std::uint32_t id = 0;
  std::string content;
  bool single_word = false;  // only where no word character touches it
  bool lstrip = false;       // takes the spaces before it
  bool rstrip = false;       // takes the spaces after it
  bool normalized = false;   // searched after the others, in what they leave
  bool special = false;
  std::string
      pattern{};  // what stands for it where it is searched: the content, or its normal form
};

// A stretch of the text: an added token, or what lies between two.
struct Stretch {
  static constexpr std::uint32_t kText = 0xFFFFFFFFu;
  std::uint32_t id;  // kText: no added token
  std::uint32_t begin;
  std::uint32_t end;
};

// Finds the tokens of one phase.
class TokenFinder {
 public:
  TokenFinder();
  void add(const AddedToken& token);  // DataError for an empty pattern, or one that is there
  [[nodiscard]] bool empty() const { return tokens_.empty(); }

  // Walks over the stretches of a text, tokens and what lies between them, from left to right. None
  // is empty.
  class Walk {
   public:
    Walk(const TokenFinder& finder, std::string_view text) : finder_(finder), text_(text) {}
    [[nodiscard]] bool next(Stretch& stretch);

   private:
    void find_more();
    void push(std::uint32_t id, std::size_t begin, std::size_t end);
    const TokenFinder& finder_;
    std::string_view text_;
    std::size_t at_ = 0, done_ = 0;  // searched so far; given out or waiting
    // A token waits for what follows it, which may take back what it has stripped.
    std::array<Stretch, 3> waiting_{};
    std::size_t count_ = 0;
    bool ended_ = false;
  };

 private:
  struct Node {
    std::vector<std::pair<char, std::uint32_t>> children;
    std::uint32_t token = Stretch::kText;  // index into tokens_
  };
  struct Found {
    std::uint32_t token;  // Stretch::kText: none begins here
    std::size_t end;
  };
  [[nodiscard]] Found longest_at(std::string_view text, std::size_t at) const;
  [[nodiscard]] std::size_t next_candidate(std::string_view text, std::size_t at) const;
  [[nodiscard]] const Node* child(const Node& node, char byte) const;

  std::vector<AddedToken> tokens_;
  std::vector<Node> nodes_;  // a trie; 0 is the root
  std::array<bool, 256> begins_{};
  std::string first_bytes_;                    // those in begins_
  std::vector<std::bitset<256>> second_byte_;  // [first byte]: what may follow
};

class AddedTokens {
 public:
  // Ids follow the library: the vocabulary's where the content is in it, else its count of
  // entries and on;
  // DataError where the file states another. Tokens with ids from `ids` on are left out.
  AddedTokens(std::vector<AddedToken> listed, const Vocabulary& vocabulary,
              const Normalizers& normalizers, std::uint32_t ids);

  [[nodiscard]] const TokenFinder& in_given_text() const { return given_; }
  [[nodiscard]] const TokenFinder& in_normalized_text() const { return normalized_; }
  [[nodiscard]] const std::vector<AddedToken>& tokens() const { return tokens_; }
  [[nodiscard]] const std::vector<std::string>& left_out() const { return left_out_; }

 private:
  std::vector<AddedToken> tokens_;
  TokenFinder given_, normalized_;
  std::vector<std::string> left_out_;
};

}  // namespace refract
