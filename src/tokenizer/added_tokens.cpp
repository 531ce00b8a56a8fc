#include "tokenizer/added_tokens.hpp"

#include <algorithm>
#include <unordered_map>

#include "refract/base/error.hpp"
#include "tokenizer/unicode_tables.hpp"

namespace refract {
namespace {

bool has_class(std::string_view text, std::size_t at, unicode::Class bit) {
  return (unicode::class_table()[unicode::decode(text.data() + at).code] & bit) != 0;
}

// The start of the character that ends before `end` (> 0).
std::size_t previous_character(std::string_view text, std::size_t end) {
  do --end;
  while (unicode::continues(text[end]));
  return end;
}

std::size_t spaces_before(std::string_view text, std::size_t end) {
  while (end > 0) {
    const std::size_t before = previous_character(text, end);
    if (!has_class(text, before, unicode::space)) break;
    end = before;
  }
  return end;
}

std::size_t spaces_after(std::string_view text, std::size_t at) {
  while (at < text.size() && has_class(text, at, unicode::space))
    at += unicode::decode(text.data() + at).bytes;
  return at;
}

bool touches_word(std::string_view text, std::size_t begin, std::size_t end) {
  return (begin > 0 && has_class(text, previous_character(text, begin), unicode::word)) ||
         (end < text.size() && has_class(text, end, unicode::word));
}

// The content after all normalizers.
std::string normal_form(const std::string& content, const Normalizers& normalizers) {
  std::string text = content;
  for (const auto& normalizer : normalizers) {
    Rewriting made;
    made.start({});
    if (normalizer->rewrite(text, made)) text = made.text();
  }
  return text;
}

}  // namespace

TokenFinder::TokenFinder() : nodes_(1), second_byte_(256) {}

void TokenFinder::add(const AddedToken& token) {
  const std::string_view pattern = token.pattern;
  constexpr std::size_t kBytes = 1024;  // a text of near misses is compared with all of them
  if (pattern.empty() || pattern.size() > kBytes)
    throw DataError("added_tokens: '{}' of id {} is searched as {} bytes, expected 1 to {}",
                    token.content.substr(0, 40), token.id, pattern.size(), kBytes);
  std::uint32_t node = 0;
  for (const char byte : pattern) {
    const Node* next = child(nodes_[node], byte);
    if (next == nullptr) {
      const auto fresh = static_cast<std::uint32_t>(nodes_.size());
      nodes_[node].children.emplace_back(byte, fresh);
      nodes_.emplace_back();
      node = fresh;
    } else {
      node = static_cast<std::uint32_t>(next - nodes_.data());
    }
  }
  if (const std::uint32_t other = nodes_[node].token; other != Stretch::kText)
    throw DataError("added_tokens: '{}' and '{}' are the same in normalized text; leave one out",
                    tokens_[other].content, token.content);
  nodes_[node].token = static_cast<std::uint32_t>(tokens_.size());
  const auto first = static_cast<unsigned char>(pattern.front());
  if (!begins_[first]) first_bytes_.push_back(pattern.front());
  begins_[first] = true;
  if (pattern.size() == 1)
    second_byte_[first].set();
  else
    second_byte_[first].set(static_cast<unsigned char>(pattern[1]));
  tokens_.push_back(token);
}

const TokenFinder::Node* TokenFinder::child(const Node& node, char byte) const {
  for (const auto& [label, index] : node.children)
    if (label == byte) return &nodes_[index];
  return nullptr;
}

TokenFinder::Found TokenFinder::longest_at(std::string_view text, std::size_t at) const {
  Found found{Stretch::kText, at};
  const Node* node = &nodes_.front();
  while (at < text.size()) {
    node = child(*node, text[at]);
    if (node == nullptr) break;
    ++at;
    if (node->token != Stretch::kText) found = {node->token, at};
  }
  return found;
}

// The next place from `at` on whose first two bytes begin a token, or the end.
std::size_t TokenFinder::next_candidate(std::string_view text, std::size_t at) const {
  for (;; ++at) {
    if (first_bytes_.size() == 1) {
      at = text.find(first_bytes_.front(), at);
      if (at == std::string_view::npos) return text.size();
    } else {
      while (at < text.size() && !begins_[static_cast<unsigned char>(text[at])]) ++at;
      if (at >= text.size()) return text.size();
    }
    const auto& follows = second_byte_[static_cast<unsigned char>(text[at])];
    if (at + 1 == text.size() || follows.test(static_cast<unsigned char>(text[at + 1]))) return at;
  }
}

bool TokenFinder::Walk::next(Stretch& stretch) {
  while (count_ < 2 && !ended_) find_more();
  if (count_ == 0) return false;
  stretch = waiting_.front();
  std::move(waiting_.begin() + 1, waiting_.end(), waiting_.begin());
  --count_;
  return true;
}

void TokenFinder::Walk::push(std::uint32_t id, std::size_t begin, std::size_t end) {
  if (begin == end) return;
  waiting_[count_++] = {id, static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(end)};
}

// As `find_matches` of Hugging Face's added_vocabulary.rs: a match that single_word rejects is
// skipped whole, and stripping reaches back to the end of the last match. What a token has stripped
// behind it is searched for tokens all the same: one that is found takes its bytes back, and those
// behind it; but if it strips in front of it, too, it begins where the last one ends, even if
// nothing is left of it.
void TokenFinder::Walk::find_more() {
  at_ = finder_.next_candidate(text_, at_);
  if (at_ == text_.size()) {
    push(Stretch::kText, done_, text_.size());
    ended_ = true;
    return;
  }
  const Found found = finder_.longest_at(text_, at_);
  if (found.token == Stretch::kText) {
    ++at_;
    return;
  }
  const AddedToken& token = finder_.tokens_[found.token];
  std::size_t from = at_, to = found.end;
  at_ = to;
  if (token.single_word && touches_word(text_, from, to)) return;
  if (token.lstrip) from = std::max(spaces_before(text_, from), done_);
  if (token.rstrip) to = spaces_after(text_, to);
  if (from > to)
    throw DataError(
        "the added token '{}' strips what stands before it, and stands in what another has "
        "stripped "
        "behind it: the tokenizers library cannot split such a text either. Correct lstrip or "
        "rstrip "
        "of added_tokens",
        token.content);
  if (done_ > from) waiting_[count_ - 1].end = static_cast<std::uint32_t>(from);
  if (done_ < from) push(Stretch::kText, done_, from);
  push(token.id, from, to);
  done_ = to;
}

AddedTokens::AddedTokens(std::vector<AddedToken> listed, const Vocabulary& vocabulary,
                         const Normalizers& normalizers, std::uint32_t ids) {
  std::unordered_map<std::string, std::size_t> seen;
  std::uint32_t next = vocabulary.entries();
  for (AddedToken& token : listed) {
    if (token.content.empty()) continue;
    if (const auto before = seen.find(token.content); before != seen.end()) {
      token.id = tokens_[before->second].id;
      tokens_[before->second] = std::move(token);  // its flags are those stated last
      continue;
    }
    const std::uint32_t known = vocabulary.find(token.content);
    const std::uint32_t id = known != Vocabulary::kNone ? known : next++;
    if (id != token.id)
      throw DataError(
          "added_tokens: '{}' has id {}, the tokenizers library would give it {}; correct the file",
          token.content, token.id, id);
    if (known == Vocabulary::kNone && vocabulary.has(id))
      throw DataError("added_tokens: '{}' has id {}, which is that of '{}' in model.vocab",
                      token.content, id, vocabulary.entry(id));
    seen.emplace(token.content, tokens_.size());
    tokens_.push_back(std::move(token));
  }
  std::erase_if(tokens_, [this, ids](const AddedToken& token) {
    if (token.id < ids) return false;
    left_out_.push_back(token.content);
    return true;
  });
  for (AddedToken& token : tokens_) {
    token.pattern = token.normalized ? normal_form(token.content, normalizers) : token.content;
    (token.normalized ? normalized_ : given_).add(token);
  }
}

}  // namespace refract
