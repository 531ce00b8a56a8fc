#pragma once
// The order of samples (SPEC 2): windows -> one row sequence -> chunks -> blocks -> slices ->
// batches. A function of the seeds and of how many rows each window has; ranks and sizes come in as
// numbers. Which contexts a window's rows come from is the window's own file (store/window.hpp), so
// that all of this costs the same for a corpus of any size.
#include <cstdint>
#include <vector>

namespace refract {

struct OrderRule {
  std::uint64_t store_seed = 1, data_seed = 1;
  std::uint64_t chunk_rows = 131072, block_rows = 1024, batch_rows = 4096;
  [[nodiscard]] std::uint64_t blocks() const { return chunk_rows / block_rows; }
  [[nodiscard]] std::uint64_t slice_rows() const { return batch_rows / blocks(); }
};
// ConfigError when the numbers do not divide: says which, and the nearest that would.
void check_order_rule(const OrderRule& rule);

// Rows [first, first + count) of a window.
struct WindowRange {
  std::uint64_t window = 0, first = 0, count = 0;
  friend bool operator==(const WindowRange&, const WindowRange&) = default;
};

struct ChunkShape {
  std::uint64_t chunk = 0;
  std::uint64_t first_row = 0;  // in the corpus' row sequence
  std::uint64_t rows = 0;       // 0: nothing left worth a batch
  std::uint64_t block_rows = 0;
  std::uint64_t batches = 0;  // of one pass
  bool last = false;
};

class SampleOrder {
 public:
  // max_rows: train.tokens, rounded down to whole batches; 0 = all there are.
  SampleOrder(OrderRule rule, std::uint64_t max_rows);
  void add_window(std::uint64_t rows);  // windows in order
  void end_of_corpus() { complete_ = true; }

  [[nodiscard]] const OrderRule& rule() const { return rule_; }
  [[nodiscard]] std::uint64_t windows() const { return window_ends_.size(); }
  [[nodiscard]] std::uint64_t rows() const;  // known so far, within max_rows
  [[nodiscard]] bool complete() const {
    return complete_ || (max_rows_ && sequence_rows() >= max_rows_);
  }
  [[nodiscard]] bool has_chunk(std::uint64_t chunk) const;  // its rows are known
  [[nodiscard]] ChunkShape chunk_shape(std::uint64_t chunk) const;
  [[nodiscard]] std::uint64_t chunks() const;        // once complete
  [[nodiscard]] std::uint64_t dropped_rows() const;  // less than a batch, at the end; once complete
  [[nodiscard]] std::uint64_t batches_per_pass() const;  // over all chunks; once complete

  // The rows of a block before its permutation (of two windows where one ends, seldom of more), and
  // the permutation: stored row i is sequence row order[i].
  [[nodiscard]] std::vector<WindowRange> block_ranges(const ChunkShape& chunk,
                                                      std::uint64_t block) const;
  [[nodiscard]] std::vector<std::uint32_t> block_permutation(const ChunkShape& chunk,
                                                             std::uint64_t block) const;
  // slice_order[i] is the slice of this block that batch i takes in this pass.
  [[nodiscard]] std::vector<std::uint32_t> slice_order(const ChunkShape& chunk, std::uint64_t block,
                                                       std::uint64_t pass) const;

 private:
  [[nodiscard]] std::uint64_t sequence_rows() const {
    return window_ends_.empty() ? 0 : window_ends_.back();
  }
  OrderRule rule_;
  std::uint64_t max_rows_;
  bool complete_ = false;
  std::vector<std::uint64_t> window_ends_;  // running end of each window in the row sequence
};

// Contiguous share of `items` for a rank: [first, first + count). The first (items % size) ranks
// get one more.
struct Share {
  std::uint64_t first = 0, count = 0;
};
[[nodiscard]] Share share_of(std::uint64_t items, int rank, int size);

}  // namespace refract
