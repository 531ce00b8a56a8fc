#include "tokenizer/added_tokens.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

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
  while ((static_cast<unsigned char>(text[end]) & 0xC0u) == 0x80u);
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

AddedToken read_token(const nlohmann::json& block) {
  return {block.at("id").get<std::uint32_t>(), block.at("content").get<std::string>(),
          block.value("single_word", false),   block.value("lstrip", false),
          block.value("rstrip", false),        block.value("normalized", true),
          block.value("special", false)};
}

}  // namespace

TokenFinder::TokenFinder() : nodes_(1) {}

void TokenFinder::add(const AddedToken& token) {
  std::uint32_t node = 0;
  for (const char byte : token.content) {
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
  nodes_[node].token = static_cast<std::uint32_t>(tokens_.size());
  begins_[static_cast<unsigned char>(token.content.front())] = true;
  tokens_.push_back(token);
}

const TokenFinder::Node* TokenFinder::child(const Node& node, char byte) const {
  for (const auto& [label, index] : node.children)
    if (label == byte) return &nodes_[index];
  return nullptr;
}

std::uint32_t TokenFinder::longest_at(std::string_view text, std::size_t at) const {
  std::uint32_t found = Stretch::kText;
  const Node* node = &nodes_.front();
  for (; at < text.size(); ++at) {
    node = child(*node, text[at]);
    if (node == nullptr) break;
    if (node->token != Stretch::kText) found = node->token;
  }
  return found;
}

// As `find_matches` of Hugging Face's added_vocabulary.rs: a match that single_word rejects is
// skipped whole, and stripping may reach back only to the end of the last match.
void TokenFinder::split(std::string_view text, std::uint32_t begin, std::uint32_t end,
                        std::vector<Stretch>& out) const {
  const std::string_view view = text.substr(begin, end - begin);
  const auto append = [&](std::uint32_t id, std::size_t from, std::size_t to) {
    out.push_back(
        {id, begin + static_cast<std::uint32_t>(from), begin + static_cast<std::uint32_t>(to)});
  };
  std::size_t done = 0;
  for (std::size_t at = 0; at < view.size();) {
    if (!begins_[static_cast<unsigned char>(view[at])]) {
      ++at;
      continue;
    }
    const std::uint32_t index = longest_at(view, at);
    if (index == Stretch::kText) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[index];
    std::size_t from = at, to = at + token.content.size();
    at = to;
    if (token.single_word && touches_word(view, from, to)) continue;
    if (token.lstrip) from = std::max(spaces_before(view, from), done);
    if (token.rstrip) to = spaces_after(view, to);
    if (done < from) append(Stretch::kText, done, from);
    append(token.id, std::max(from, done), std::max(to, done));
    done = std::max(to, done);
  }
  if (done < view.size()) append(Stretch::kText, done, view.size());
}

AddedTokens::AddedTokens(const nlohmann::json& block, const BpeModel& model) {
  std::unordered_map<std::string, std::uint32_t> seen;
  std::uint32_t next = model.entries();
  for (const auto& entry : block) {
    AddedToken token = read_token(entry);
    if (token.content.empty() || seen.contains(token.content)) continue;
    const auto in_vocabulary = model.id_of(token.content);
    const std::uint32_t id = in_vocabulary ? *in_vocabulary : next;
    if (id != token.id)
      throw DataError(
          "tokenizer.json: added token '{}' has id {}, Hugging Face would give it {}; correct the "
          "file",
          token.content, token.id, id);
    next = std::max(next, id + 1);
    seen.emplace(token.content, id);
    (token.normalized ? normalized_ : raw_).add(token);
    tokens_.push_back(std::move(token));
  }
}

void AddedTokens::split(std::string_view text, std::vector<Stretch>& out,
                        std::vector<Stretch>& scratch) const {
  out.clear();
  const auto size = static_cast<std::uint32_t>(text.size());
  raw_.split(text, 0, size, out);
  if (normalized_.empty()) return;
  scratch.swap(out);
  out.clear();
  for (const Stretch& stretch : scratch) {
    if (stretch.id == Stretch::kText)
      normalized_.split(text, stretch.begin, stretch.end, out);
    else
      out.push_back(stretch);
  }
}

}  // namespace refract
