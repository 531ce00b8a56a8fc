#include <algorithm>
#include <set>
#include <utility>

#include "refract/base/activity.hpp"
#include "refract/base/error.hpp"
#include "refract/base/progress.hpp"
#include "refract/base/random.hpp"
#include "refract/base/stop.hpp"
#include "refract/stages/probe.hpp"
#include "refract/store/token_shard.hpp"

namespace refract {
namespace {

using Piece = ProbeCorpus::Piece;

constexpr std::uint64_t kRowsAtATime = 65536;

void add_rows(const ChunkReader& chunk, const Piece& piece, std::vector<TextRow>& rows) {
  for (std::uint64_t first = 0; first < piece.rows; first += kRowsAtATime) {
    stop_point();
    const RowIdentity id =
        chunk.read_identity(piece.first + first, std::min(kRowsAtATime, piece.rows - first));
    for (std::size_t i = 0; i < id.size(); ++i)
      rows.push_back(
          {.context = id.context[i],
           .document = id.document[i],
           .position = id.position[i],
           .document_position = id.excluded[i] ? kNoDocumentPosition : id.document_position[i],
           .token = id.token[i]});
  }
}

struct ChunkSize {
  std::uint64_t rows = 0, block_rows = 0;
};

std::vector<ChunkSize> sizes_of(const ProbeSources& sources) {
  std::vector<ChunkSize> sizes;
  for (const auto& path : sources.chunks) {
    stop_point();
    const ChunkReader chunk(path, sources.parents);
    sizes.push_back({chunk.rows(), chunk.spec().block_rows});
  }
  return sizes;
}

// The first whole blocks of every chunk, in proportion to its rows: a chunk mixes its windows'
// contexts, so its beginning is a sample of all of it.
std::vector<Piece> spread_pieces(const ProbeSources& sources, std::uint64_t tokens) {
  if (sources.chunks.empty())
    throw DataError(
        "probe has nothing to read: no activation chunk is left. Run refract run: what is missing "
        "is extracted again.");
  const std::vector<ChunkSize> sizes = sizes_of(sources);
  std::uint64_t total = 0, at = 0;
  for (const ChunkSize& size : sizes) total += size.rows;
  std::vector<Piece> pieces;
  std::uint64_t left_tokens = tokens, left_rows = total;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const auto [rows, block_rows] = sizes[i];
    Piece piece{.chunk = sources.chunks[i]};
    const auto share =
        static_cast<std::uint64_t>(static_cast<double>(left_tokens) * static_cast<double>(rows) /
                                   static_cast<double>(left_rows));
    const std::uint64_t blocks = share < block_rows
                                     ? std::min<std::uint64_t>(1, left_tokens / block_rows)
                                     : share / block_rows;
    piece.rows = tokens >= total ? rows : std::min(rows, blocks * block_rows);
    piece.at = std::exchange(at, at + piece.rows);
    left_tokens -= std::min(left_tokens, piece.rows);
    left_rows -= rows;
    if (piece.rows != 0) pieces.push_back(std::move(piece));
  }
  if (pieces.empty())
    pieces.push_back({.chunk = sources.chunks.front(),
                      .rows = std::min(sizes.front().rows, sizes.front().block_rows)});
  return pieces;
}

std::set<std::uint64_t> documents_of(const std::vector<TextRow>& rows) {
  std::set<std::uint64_t> documents;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (i % kRowsAtATime == 0) stop_point();
    if (rows[i].document_position != kNoDocumentPosition) documents.insert(rows[i].document);
  }
  return documents;
}

ProbeDocument load_document(const TokenShard& shard, std::uint64_t index) {
  ProbeDocument document{shard.title(index), shard.url(index), shard.document_text(index), {}, {}};
  const DocumentTokens tokens = shard.document_tokens(index);
  document.tokens.reserve(tokens.ids.size());
  for (std::size_t t = 0; t < tokens.ids.size(); ++t)
    document.tokens.push_back({tokens.begin[t], tokens.end[t]});
  document.training_row.assign(tokens.ids.size(), kNoRow);
  return document;
}

// Where a row stands in its document.
std::uint32_t& place_of(const TextRow& row,
                        std::unordered_map<std::uint64_t, ProbeDocument>& documents) {
  ProbeDocument& document = documents.at(row.document);
  if (row.document_position >= document.tokens.size())
    throw DataError(
        "a stored row is token {} of \"{}\", which has {} tokens: the activations were extracted "
        "from other token shards. Give this run another folder (--set run=...).",
        row.document_position, document.title, document.tokens.size());
  return document.training_row[row.document_position];
}

}  // namespace

ProbeCorpus::ProbeCorpus(const ProbeSources& sources, const ProbeConfig& config)
    : config_(config), parents_(sources.parents) {
  working("probe: rows and texts");
  training_pieces_ = spread_pieces(sources, config.tokens);
  for (const Piece& piece : training_pieces_) add_rows(open(piece), piece, training_);
  const ChunkReader heldout(sources.heldout, parents_);
  heldout_pieces_.push_back({.chunk = sources.heldout, .rows = heldout.rows()});
  add_rows(heldout, heldout_pieces_.front(), heldout_);
  add_documents(sources);
  draw_negatives(sources.seed, ReadabilityRules{}.negative_windows);
}

// One shard is open at a time, in order; documents in order of their ids, so words are numbered the
// same always.
void ProbeCorpus::add_documents(const ProbeSources& sources) {
  const std::set<std::uint64_t> training = documents_of(training_);
  std::set<std::uint64_t> all = documents_of(heldout_);
  all.insert(training.begin(), training.end());
  training_documents_ = training.size();

  Progress progress("probe: texts", all.size(), "documents");
  std::unique_ptr<TokenShard> shard;
  std::uint64_t open_ordinal = ~std::uint64_t{0};
  for (const std::uint64_t id : all) {
    stop_point();
    const std::uint64_t ordinal = id >> 32;
    if (ordinal >= sources.shards.size())
      throw DataError(
          "a stored row is of shard {}, but there are {} token shards: the activations were "
          "extracted from another corpus. Give this run another folder (--set run=...).",
          ordinal, sources.shards.size());
    if (ordinal != open_ordinal) {
      shard = std::make_unique<TokenShard>(sources.shards[ordinal]);
      open_ordinal = ordinal;
    }
    const ProbeDocument& document =
        documents_.emplace(id, load_document(*shard, id & 0xFFFFFFFFu)).first->second;
    words_.add(id, document.text, document.tokens);
    progress.advance(1);
  }

  background_.counts.resize(words_.vocabulary());
  for (const std::uint64_t id : training) {
    stop_point();
    for (const std::uint32_t word : words_.words_of(id)) ++background_.counts[word];
    background_.total += words_.words_of(id).size();
  }
  for (std::uint32_t row = 0; row < training_.size(); ++row) {
    if (row % kRowsAtATime == 0) stop_point();
    if (const TextRow& at = training_[row]; at.document_position != kNoDocumentPosition)
      place_of(at, documents_) = row;
  }
  for (const TextRow& at : heldout_)
    if (at.document_position != kNoDocumentPosition) (void)place_of(at, documents_);
}

void ProbeCorpus::draw_negatives(std::uint64_t seed, std::size_t count) {
  std::vector<std::uint32_t> candidates;
  for (std::uint32_t row = 0; row < heldout_.size(); ++row)
    if (heldout_[row].document_position != kNoDocumentPosition) candidates.push_back(row);
  if (candidates.empty()) return;  // no held-out text: nothing will be scored
  const CounterRng rng(Purpose::negatives, {seed});
  for (std::size_t i = 0; i < count; ++i)
    negatives_.push_back(heldout_[candidates[rng.below(i, candidates.size())]]);
}

}  // namespace refract
