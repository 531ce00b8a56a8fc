#pragma once
// A corpus of the size of Wikipedia as what is planned from: context tables and windows, and token
// shards that hold documents but no tokens.
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "refract/base/file.hpp"
#include "refract/base/random.hpp"
#include "refract/order/contexts.hpp"
#include "refract/order/sample_order.hpp"
#include "refract/order/window_order.hpp"
#include "refract/stages/heldout.hpp"
#include "refract/stages/token_corpus.hpp"
#include "refract/store/token_shard.hpp"

namespace refract::test {

struct CorpusSize {
  std::uint32_t shards = 41;
  std::uint64_t documents = 170'732;  // of a shard: 7 M in all
  std::uint64_t tokens = 714;         // of a document, on average: 5 G in all
  std::uint32_t window_shards = 8;
};

// What world rank 0 writes while it admits shards, and what every rank is told of it.
class WikipediaSized {
 public:
  WikipediaSized(const std::filesystem::path& folder, CorpusSize size)
      : folder_(folder), size_(size) {
    make_folder(folder_);
  }

  void admit(std::uint32_t shard) {
    const CounterRng rng(Purpose::test, {shard});
    std::vector<std::uint64_t> starts{0}, keys, revisions(size_.documents, 1);
    std::vector<std::uint8_t> heldout;
    for (std::uint64_t d = 0; d < size_.documents; ++d) {
      starts.push_back(starts.back() + size_.tokens / 7 + rng.below(2 * d, size_.tokens * 12 / 7));
      keys.push_back(rng.bits(2 * d + 1));
      heldout.push_back(is_heldout(keys.back(), 0.02) ? 1 : 0);
    }
    const std::vector<std::uint8_t> keep = keep_documents(keys, revisions, seen_);
    (void)write_contexts(contexts(shard),
                         build_contexts({.length = 256, .bos_id = 0}, starts, keep, heldout), {});
    TokenShardData data;
    data.shard = shard;
    data.vocabulary = 50257;
    data.keep_text = false;
    data.document_token_starts.assign(size_.documents + 1, 0);
    data.page_id = data.document_key = keys;
    data.revision = revisions;
    data.title.resize(size_.documents);
    data.url.resize(size_.documents);
    data.links.resize(size_.documents);
    (void)write_token_shard(tokens(shard), data, {});
    seen_.add(std::move(keys));
    if ((shard + 1) % size_.window_shards == 0 || shard + 1 == size_.shards)
      order(shard / size_.window_shards, shard + 1);
  }

  // As a rank has it that was told how many shards are admitted and how many rows each window has.
  [[nodiscard]] TokenCorpus corpus() const {
    TokenCorpus corpus(std::vector<std::uint8_t>(50257, 0), 2 * size_.window_shards);
    for (std::uint32_t s = 0; s < size_.shards; ++s) corpus.add_shard({tokens(s), contexts(s)});
    for (std::uint64_t w = 0; w < window_rows_.size(); ++w) corpus.add_window(window(w));
    return corpus;
  }
  [[nodiscard]] SampleOrder sample_order(const OrderRule& rule) const {
    SampleOrder order(rule, 0);
    for (const std::uint64_t rows : window_rows_) order.add_window(rows);
    order.end_of_corpus();
    return order;
  }
  [[nodiscard]] const SeenDocuments& seen() const { return seen_; }
  [[nodiscard]] const CorpusSize& size() const { return size_; }

 private:
  [[nodiscard]] std::filesystem::path contexts(std::uint32_t shard) const {
    return folder_ / ("contexts-" + std::to_string(shard) + ".h5");
  }
  [[nodiscard]] std::filesystem::path tokens(std::uint32_t shard) const {
    return folder_ / ("tokens-" + std::to_string(shard) + ".h5");
  }
  [[nodiscard]] std::filesystem::path window(std::uint64_t window) const {
    return folder_ / ("window-" + std::to_string(window) + ".h5");
  }
  void order(std::uint64_t of_window, std::uint32_t end) {
    std::vector<ShardRows> rows;
    for (auto s = static_cast<std::uint32_t>(of_window * size_.window_shards); s < end; ++s)
      rows.push_back(rows_of_shard(s, ContextTable(contexts(s)), RowRule{}, 1));
    const WindowData data = order_window(rows, 1, of_window);
    (void)write_window(window(of_window), data, of_window, {});
    window_rows_.push_back(data.rows());
  }

  std::filesystem::path folder_;
  CorpusSize size_;
  SeenDocuments seen_;
  std::vector<std::uint64_t> window_rows_;
};

}  // namespace refract::test
