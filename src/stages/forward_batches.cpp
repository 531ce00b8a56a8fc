#include "stages/forward_batches.hpp"

#include <algorithm>
#include <span>

namespace refract {
namespace {

constexpr std::size_t kRowsAtATime = 4096;
// Small enough that there is a call for each of many ranks: it may not depend on how many.
constexpr std::size_t kTokensPerCall = 1024;

void append(ForwardBatch& batch, const ContextInput& context) {
  const auto offset = static_cast<std::uint32_t>(batch.ids.size());
  batch.ids.insert(batch.ids.end(), context.ids.begin(), context.ids.end());
  batch.positions.insert(batch.positions.end(), context.positions.begin(), context.positions.end());
  for (std::size_t i = 1; i < context.segment_starts.size(); ++i)
    batch.segment_starts.push_back(offset + context.segment_starts[i]);
  // Padding stands at the end of a context's slots and is not run.
  const auto slots = static_cast<std::ptrdiff_t>(context.ids.size());
  batch.excluded.insert(batch.excluded.end(), context.slots.excluded.begin(),
                        context.slots.excluded.begin() + slots);
  batch.documents.insert(batch.documents.end(), context.slots.document.begin(),
                         context.slots.document.begin() + slots);
}

std::vector<ForwardBatch> heldout_batches(TokenCorpus& corpus, const ChunkReader& heldout,
                                          std::uint64_t tokens, SharedStop& stop) {
  std::vector<ForwardBatch> batches;
  std::vector<std::uint64_t> used;
  std::uint64_t total = 0;
  for (std::uint64_t first = 0; first < heldout.rows(); first += kRowsAtATime) {
    stop.poll();
    const RowIdentity identity =
        heldout.read_identity(first, std::min<std::uint64_t>(kRowsAtATime, heldout.rows() - first));
    for (const std::uint64_t key : identity.context) {
      if (std::find(used.rbegin(), used.rend(), key) != used.rend()) continue;
      const ContextInput context = corpus.input(key);
      if (total != 0 && total + context.ids.size() > tokens) return batches;
      used.push_back(key);
      total += context.ids.size();
      if (batches.empty() || batches.back().ids.size() + context.ids.size() > kTokensPerCall)
        batches.emplace_back();
      append(batches.back(), context);
    }
  }
  return batches;
}

// Batches as plain words, for other ranks: of each the number of tokens and of segment ends, then
// its arrays.
std::vector<std::uint64_t> packed(const std::vector<ForwardBatch>& batches) {
  std::vector<std::uint64_t> words;
  for (const ForwardBatch& batch : batches) {
    words.push_back(batch.ids.size());
    words.push_back(batch.segment_starts.size());
    const auto add = [&](const auto& values) {
      words.insert(words.end(), values.begin(), values.end());
    };
    add(batch.ids);
    add(batch.positions);
    add(batch.excluded);
    add(batch.documents);
    add(batch.segment_starts);
  }
  return words;
}

std::vector<ForwardBatch> unpacked(std::span<const std::uint64_t> words) {
  std::vector<ForwardBatch> batches;
  while (!words.empty()) {
    const std::size_t tokens = words[0], segments = words[1];
    words = words.subspan(2);
    const auto take = [&](auto& values, std::size_t count) {
      using Value = typename std::remove_reference_t<decltype(values)>::value_type;
      values.resize(count);
      for (std::size_t i = 0; i < count; ++i) values[i] = static_cast<Value>(words[i]);
      words = words.subspan(count);
    };
    ForwardBatch& batch = batches.emplace_back();
    take(batch.ids, tokens);
    take(batch.positions, tokens);
    take(batch.excluded, tokens);
    take(batch.documents, tokens);
    take(batch.segment_starts, segments);
  }
  return batches;
}

}  // namespace

std::vector<ForwardBatch> collective_heldout_batches(TokenCorpus& corpus,
                                                     const ChunkReader& heldout,
                                                     std::uint64_t tokens, SharedStop& stop,
                                                     Communicator& ranks) {
  std::vector<std::uint64_t> words;
  stop.collective([&] {
    if (ranks.rank() == 0) words = packed(heldout_batches(corpus, heldout, tokens, stop));
  });
  std::uint64_t size = words.size();
  ranks.broadcast(std::span(&size, 1), 0);
  words.resize(size);
  ranks.broadcast(std::span(words), 0);
  return unpacked(words);
}

}  // namespace refract
