#include "tokenizer/bpe_model.hpp"

#include <algorithm>
#include <bit>
#include <nlohmann/json.hpp>
#include <queue>

#include "refract/base/error.hpp"
#include "tokenizer/byte_level.hpp"

namespace refract {
namespace {

constexpr std::uint32_t kNoToken = 0xFFFFFFFFu;
// Up to here a plain search for the smallest rank beats the heap.
constexpr std::size_t kShortWord = 32;

bool absent_or_empty(const nlohmann::json& block, const char* key) {
  const auto found = block.find(key);
  return found == block.end() || found->is_null() ||
         (found->is_string() && found->get<std::string>().empty());
}

void refuse_unsupported(const nlohmann::json& block) {
  const std::string type = block.value("type", "BPE");
  if (type != "BPE") throw DataError("tokenizer.json has a model of type '{}', known: BPE", type);
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"})
    if (!absent_or_empty(block, key))
      throw DataError("tokenizer.json: model.{} is {}, only empty is supported", key,
                      block.at(key).dump());
  const auto dropout = block.find("dropout");
  if (dropout != block.end() && !dropout->is_null() && *dropout != 0.0)
    throw DataError(
        "tokenizer.json: model.dropout is {}, only null is supported (ids would be random)",
        dropout->dump());
}

// "a b" or ["a", "b"].
std::pair<std::string, std::string> parts_of(const nlohmann::json& merge) {
  if (merge.is_array() && merge.size() == 2)
    return {merge[0].get<std::string>(), merge[1].get<std::string>()};
  const std::string text = merge.is_string() ? merge.get<std::string>() : "";
  const auto blank = text.find(' ');
  if (blank == std::string::npos || text.find(' ', blank + 1) != std::string::npos)
    throw DataError("tokenizer.json: merge {} is neither \"left right\" nor [left, right]",
                    merge.dump());
  return {text.substr(0, blank), text.substr(blank + 1)};
}

}  // namespace

void MergeTable::reserve(std::size_t merges) {
  const std::size_t slots = std::bit_ceil(std::max<std::size_t>(16, 2 * merges));
  slots_.assign(slots, Slot{});
  shift_ = 64u - static_cast<unsigned>(std::countr_zero(slots));
}

std::size_t MergeTable::slot_of(std::uint64_t pair) const {
  std::size_t slot = static_cast<std::size_t>((pair * 0x9E3779B97F4A7C15u) >> shift_);
  while (slots_[slot].pair != pair && slots_[slot].pair != ~std::uint64_t{0})
    slot = (slot + 1) & (slots_.size() - 1);
  return slot;
}

void MergeTable::set(std::uint32_t left, std::uint32_t right, Merge merge) {
  const std::uint64_t pair = std::uint64_t{left} << 32 | right;
  slots_[slot_of(pair)] = {pair, merge};
}

MergeTable::Merge MergeTable::find(std::uint32_t left, std::uint32_t right) const {
  return slots_[slot_of(std::uint64_t{left} << 32 | right)].merge;
}

BpeModel::BpeModel(const nlohmann::json& block) {
  refuse_unsupported(block);
  ignore_merges_ = block.value("ignore_merges", false);
  read_vocabulary(block.at("vocab"));
  read_merges(block.at("merges"));
  check_alphabet(block);
}

void BpeModel::read_vocabulary(const nlohmann::json& vocabulary) {
  byte_id_.fill(kNoToken);
  id_of_.reserve(vocabulary.size());
  bytes_.reserve(vocabulary.size());
  for (const auto& [entry, value] : vocabulary.items()) {
    const auto id = value.get<std::uint32_t>();
    id_of_.emplace(entry, id);
    const auto bytes = bytes_of_entry(entry);
    bytes_.emplace(id, bytes.value_or(entry));
    if (!bytes) continue;
    if (bytes->size() == 1) byte_id_[static_cast<unsigned char>(bytes->front())] = id;
    if (ignore_merges_) whole_.emplace(*bytes, id);
  }
}

void BpeModel::read_merges(const nlohmann::json& merges) {
  merges_.reserve(merges.size());
  std::uint32_t rank = 0;
  for (const auto& merge : merges) {
    if (merge.is_string() && merge.get_ref<const std::string&>().starts_with("#version")) continue;
    const auto [left, right] = parts_of(merge);
    const auto left_id = id_of(left), right_id = id_of(right), id = id_of(left + right);
    if (!left_id || !right_id || !id)
      throw DataError(
          "tokenizer.json: merge {} ('{}' + '{}') uses or makes a token that is not in the "
          "vocabulary",
          rank, left, right);
    merges_.set(*left_id, *right_id, {rank++, *id});
  }
}

// Hugging Face gives a character without an entry to byte_fallback or unk_token. With every byte of
// UTF-8 in the vocabulary neither is ever reached; without, only the plain case (it vanishes) is
// supported.
void BpeModel::check_alphabet(const nlohmann::json& block) const {
  if (absent_or_empty(block, "unk_token") && !block.value("byte_fallback", false)) return;
  for (std::size_t byte = 0; byte < 256; ++byte) {
    const bool occurs_in_utf8 = byte != 0xC0 && byte != 0xC1 && byte < 0xF5;
    if (occurs_in_utf8 && byte_id_[byte] == kNoToken)
      throw DataError(
          "tokenizer.json: unk_token or byte_fallback is set and byte 0x{:02X} has no token; only "
          "a vocabulary with all bytes is supported then",
          byte);
  }
}

std::optional<std::uint32_t> BpeModel::id_of(std::string_view entry) const {
  const auto found = id_of_.find(entry);
  return found == id_of_.end() ? std::nullopt : std::optional(found->second);
}

void BpeModel::encode(std::string_view word, std::vector<WordToken>& out) const {
  if (ignore_merges_) {
    if (const auto found = whole_.find(word); found != whole_.end()) {
      out.push_back({found->second, 0, static_cast<std::uint32_t>(word.size())});
      return;
    }
  }
  const std::size_t before = out.size();
  for (std::uint32_t i = 0; i < word.size(); ++i) {
    const std::uint32_t id = byte_id_[static_cast<unsigned char>(word[i])];
    if (id != kNoToken) out.push_back({id, i, i + 1});
  }
  const std::span symbols(out.begin() + static_cast<std::ptrdiff_t>(before), out.end());
  out.resize(before + (symbols.size() <= kShortWord ? merge_short(symbols) : merge_long(symbols)));
}

std::size_t BpeModel::merge_short(std::span<WordToken> symbols) const {
  std::array<MergeTable::Merge, kShortWord> merge;  // of symbol i with its right neighbour
  if (symbols.empty()) return 0;
  std::size_t pairs = symbols.size() - 1;
  for (std::size_t i = 0; i < pairs; ++i) merge[i] = merges_.find(symbols[i].id, symbols[i + 1].id);
  while (pairs > 0) {
    std::size_t best = 0;
    for (std::size_t i = 1; i < pairs; ++i)
      if (merge[i].rank < merge[best].rank) best = i;
    if (merge[best].rank == MergeTable::kNone) break;
    symbols[best] = {merge[best].id, symbols[best].begin, symbols[best + 1].end};
    for (std::size_t i = best + 1; i < pairs; ++i) {
      symbols[i] = symbols[i + 1];
      merge[i - 1] = merge[i];
    }
    --pairs;
    if (best < pairs) merge[best] = merges_.find(symbols[best].id, symbols[best + 1].id);
    if (best > 0) merge[best - 1] = merges_.find(symbols[best - 1].id, symbols[best].id);
  }
  return pairs + 1;
}

// O(n log n): a heap of possible merges over a doubly linked list. An entry is stale when the rank
// at its place has changed: ids name one string each and symbols only grow, so a rank does not come
// back.
std::size_t BpeModel::merge_long(std::span<WordToken> symbols) const {
  const auto count = static_cast<std::uint32_t>(symbols.size());
  struct Link {
    std::uint32_t previous, next;
    MergeTable::Merge merge;  // with the next symbol
  };
  std::vector<Link> links(count);
  using Entry =
      std::pair<std::uint32_t, std::uint32_t>;  // rank, place: the smallest first, leftmost on ties
  std::priority_queue<Entry, std::vector<Entry>, std::greater<>> heap;
  const auto look_up = [&](std::uint32_t i) {
    Link& link = links[i];
    link.merge = link.next < count ? merges_.find(symbols[i].id, symbols[link.next].id)
                                   : MergeTable::Merge{};
    if (link.merge.rank != MergeTable::kNone) heap.emplace(link.merge.rank, i);
  };
  for (std::uint32_t i = 0; i < count; ++i) {
    links[i] = {i == 0 ? count : i - 1, i + 1, {}};
    look_up(i);
  }
  while (!heap.empty()) {
    const auto [rank, at] = heap.top();
    heap.pop();
    Link& link = links[at];
    if (link.merge.rank != rank) continue;
    const std::uint32_t gone = link.next;
    symbols[at] = {link.merge.id, symbols[at].begin, symbols[gone].end};
    link.next = links[gone].next;
    links[gone].merge = {};
    if (link.next < count) links[link.next].previous = at;
    symbols[gone].end = symbols[gone].begin;  // marks it as merged
    look_up(at);
    if (link.previous < count) look_up(link.previous);
  }
  const auto left = std::remove_if(symbols.begin(), symbols.end(), [](const WordToken& symbol) {
    return symbol.begin == symbol.end;
  });
  return static_cast<std::size_t>(left - symbols.begin());
}

}  // namespace refract
