#include "tokenizer/bpe_model.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <queue>

#include "refract/base/error.hpp"
#include "tokenizer/unicode_tables.hpp"

namespace refract {
namespace {

// Up to here a plain search for the smallest rank beats the heap.
constexpr std::size_t kShortWord = 32;

}  // namespace

BpeModel::BpeModel(ModelFile file, Spelling spelling)
    : spelling_(spelling),
      unk_token_(file.unk_token),
      byte_fallback_(file.byte_fallback),
      fuse_unk_(file.fuse_unk),
      ignore_merges_(file.ignore_merges) {
  vocabulary_ = std::move(file.vocabulary);
  read_merges(file);
  find_symbols();
}

void BpeModel::read_merges(const ModelFile& file) {
  merges_.reserve(file.merges.size());
  std::uint32_t rank = 0;
  std::string both;
  for (const auto& [left, right] : file.merges) {
    both.assign(left).append(right);
    const std::uint32_t left_id = vocabulary_.find(left), right_id = vocabulary_.find(right),
                        id = vocabulary_.find(both);
    if (left_id == Vocabulary::kNone || right_id == Vocabulary::kNone || id == Vocabulary::kNone)
      throw DataError(
          "model.merges.{} ('{}' + '{}') uses or makes a token that is not in the vocabulary", rank,
          left, right);
    merges_.set(left_id, right_id, {rank++, id});
  }
}

void BpeModel::find_symbols() {
  byte_id_.fill(Vocabulary::kNone);
  for (std::uint32_t byte = 0; byte < 256; ++byte)
    fallback_id_[byte] = vocabulary_.find(fmt::format("<0x{:02X}>", byte));
  for (std::uint32_t id = 0; id < vocabulary_.end(); ++id) {
    const std::string_view entry = vocabulary_.entry(id);
    if (entry.empty()) continue;
    if (spelling_ == Spelling::characters) {
      cuts_.note(entry);
      const auto [code, bytes] = unicode::decode(entry.data());
      if (bytes != entry.size()) continue;
      symbols_.set(code, id);
      cuts_.allow(code);
    } else if (const auto bytes = bytes_of_entry(entry)) {
      cuts_.note(*bytes);
      if (bytes->size() == 1) byte_id_[static_cast<unsigned char>(bytes->front())] = id;
    }
  }
  if (spelling_ == Spelling::bytes && knows_all_bytes())
    for (std::uint32_t code = 0; code < 0x110000; ++code) cuts_.allow(code);
}

bool BpeModel::knows_all_bytes() const {
  for (std::size_t byte = 0; byte < 256; ++byte) {
    const bool occurs_in_utf8 = byte != 0xC0 && byte != 0xC1 && byte < 0xF5;
    if (occurs_in_utf8 && byte_id_[byte] == Vocabulary::kNone) return false;
  }
  return true;
}

bool BpeModel::encode_whole(std::string_view word, std::vector<WordToken>& out) const {
  if (!ignore_merges_) return false;
  const std::uint32_t id =
      vocabulary_.find(spelling_ == Spelling::bytes ? entry_of_bytes(word) : std::string(word));
  if (id == Vocabulary::kNone) return false;
  out.push_back({id, 0, static_cast<std::uint32_t>(word.size())});
  return true;
}

void BpeModel::merge(std::string_view part, std::vector<WordToken>& out) const {
  const std::size_t before = out.size();
  append_symbols(part, out);
  const std::span symbols(out.begin() + static_cast<std::ptrdiff_t>(before), out.end());
  out.resize(before + (symbols.size() <= kShortWord ? merge_short(symbols) : merge_long(symbols)));
}

// The symbols of a word, as merge_word of models/bpe/model.rs puts them one behind the other. It
// keeps that order even where it is odd: an unknown token that waits for its neighbours comes
// behind byte tokens that follow it in the word.
class BpeModel::Symbols {
 public:
  Symbols(const BpeModel& model, std::vector<WordToken>& out) : model_(model), out_(out) {}

  void add(const WordToken& symbol) {
    flush();
    out_.push_back(symbol);
  }

  // A character without an entry of its own, as the vocabulary would spell it.
  void add_unknown(std::string_view spelled, std::uint32_t begin, std::uint32_t end) {
    if (model_.byte_fallback_ && std::ranges::all_of(spelled, [this](char byte) {
          return fallback(byte) != Vocabulary::kNone;
        }))
      add_bytes(spelled, begin, end);
    else if (!model_.unk_token_.empty())
      wait(spelled, begin, end);
  }

  void flush() {
    if (waits_) out_.push_back(waiting_);
    waits_ = false;
  }

 private:
  [[nodiscard]] std::uint32_t fallback(char byte) const {
    return model_.fallback_id_[static_cast<unsigned char>(byte)];
  }

  void add_bytes(std::string_view spelled, std::uint32_t begin, std::uint32_t end) {
    if (waits_) {  // their places change with their order
      const std::uint32_t size = end - begin;
      begin = waiting_.begin;
      end = begin + size;
      waiting_.begin += size;
      waiting_.end += size;
    }
    for (const char byte : spelled) {
      const std::uint32_t next = std::min(begin + 1, end);
      out_.push_back({fallback(byte), begin, next});
      begin = next;
    }
  }

  void wait(std::string_view spelled, std::uint32_t begin, std::uint32_t end) {
    if (waits_ && model_.fuse_unk_) {
      waiting_.end = end;
      return;
    }
    flush();
    waiting_ = {model_.vocabulary_.find(model_.unk_token_), begin, end};
    waits_ = true;
    if (waiting_.id == Vocabulary::kNone)
      throw DataError(
          "the text holds '{}', which the tokenizer's vocabulary has not, nor its unk_token '{}'; "
          "correct model.unk_token in tokenizer.json",
          spelled, model_.unk_token_);
  }

  const BpeModel& model_;
  std::vector<WordToken>& out_;
  WordToken waiting_{};
  bool waits_ = false;
};

void BpeModel::append_symbols(std::string_view word, std::vector<WordToken>& out) const {
  Symbols symbols(*this, out);
  const bool by_bytes = spelling_ == Spelling::bytes;
  for (std::uint32_t at = 0; at < word.size();) {
    const unicode::Decoded character =
        by_bytes ? unicode::Decoded{static_cast<unsigned char>(word[at]), 1}
                 : unicode::decode(word.data() + at);
    const std::uint32_t end = at + character.bytes;
    const std::uint32_t id = by_bytes ? byte_id_[character.code] : symbols_.at(character.code);
    if (id != Vocabulary::kNone) {
      symbols.add({id, at, end});
    } else {
      const std::string_view missing = word.substr(at, end - at);
      symbols.add_unknown(by_bytes ? entry_of_bytes(missing) : std::string(missing), at, end);
    }
    at = end;
  }
  symbols.flush();
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
    bool gone;
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
    links[i] = {i == 0 ? count : i - 1, i + 1, {}, false};
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
    links[gone].gone = true;
    if (link.next < count) links[link.next].previous = at;
    look_up(at);
    if (link.previous < count) look_up(link.previous);
  }
  std::size_t left = 0;
  for (std::uint32_t i = 0; i < count; ++i)
    if (!links[i].gone) symbols[left++] = symbols[i];
  return left;
}

}  // namespace refract
