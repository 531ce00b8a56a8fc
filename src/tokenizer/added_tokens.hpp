#pragma once
// First component of the pipeline: tokens added beside the vocabulary ("<|endoftext|>") are found
// in the text itself, leftmost and longest, before anything else looks at it.
#include <array>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tokenizer/bpe_model.hpp"

namespace refract {

struct AddedToken {
  std::uint32_t id = 0;
  std::string content;
  bool single_word = false;  // only where no word character touches it
  bool lstrip = false;       // takes the spaces before it
  bool rstrip = false;       // takes the spaces after it
  bool normalized = false;   // searched after the others, in what they leave
  bool special = false;
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
  void add(const AddedToken& token);
  // Appends the stretches of text[begin, end): tokens and the text between them.
  void split(std::string_view text, std::uint32_t begin, std::uint32_t end,
             std::vector<Stretch>& out) const;
  [[nodiscard]] bool empty() const { return tokens_.empty(); }

 private:
  struct Node {
    std::vector<std::pair<char, std::uint32_t>> children;
    std::uint32_t token = Stretch::kText;  // index into tokens_
  };
  [[nodiscard]] std::uint32_t longest_at(std::string_view text, std::size_t at) const;
  [[nodiscard]] const Node* child(const Node& node, char byte) const;

  std::vector<AddedToken> tokens_;
  std::vector<Node> nodes_;  // a trie; 0 is the root
  std::array<bool, 256> begins_{};
};

class AddedTokens {
 public:
  // The "added_tokens" block. Ids follow Hugging Face: the vocabulary's where the content is in it,
  // else the next free one; DataError where the file states another.
  AddedTokens(const nlohmann::json& block, const BpeModel& model);

  void split(std::string_view text, std::vector<Stretch>& out, std::vector<Stretch>& scratch) const;
  [[nodiscard]] const std::vector<AddedToken>& tokens() const { return tokens_; }

 private:
  std::vector<AddedToken> tokens_;
  TokenFinder raw_, normalized_;
};

}  // namespace refract
