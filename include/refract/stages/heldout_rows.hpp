#pragma once
// Held-out rows of one hook, and of another one that it is reconstructed from, read piece by piece:
// of the first whole documents, each document by one rank.
//
// What a bootstrap draws is a unit: a document; where there are more than kMostUnits, as many
// groups of consecutive ones (several independent documents are as independent as one), so that
// what is kept of each is bounded.
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "refract/comm/shared_stop.hpp"
#include "refract/store/chunk.hpp"
#include "refract/tensor/tensor.hpp"

namespace refract {

struct RowPiece {
  std::uint64_t first = 0;  // row of the file
  Tensor<float> x;          // [n, D] raw: what is reconstructed
  Tensor<float> input;      // [n, D_in] raw: of a transcoder, what it reads; else empty
  RowIdentity identity;
  std::vector<std::uint64_t> unit;     // [n]
  std::vector<std::uint8_t> included;  // [n]; 0 = the row takes part in nothing
  std::vector<std::uint8_t> counted;   // [n]; included, and within the range that was asked for
  [[nodiscard]] TensorView<const float> read() const {
    return input.size() != 0 ? input.cview() : x.cview();
  }
};

struct RowRange {
  std::uint64_t first = 0, last = 0;
};

// Rows of the first whole documents, at most max_rows of them; 0 = all.
[[nodiscard]] std::uint64_t rows_of_whole_documents(const ChunkReader& file,
                                                    std::uint64_t max_rows);

// Borrows the file.
class HeldoutRows {
 public:
  static constexpr std::size_t kMostUnits = 2048;

  // At most max_rows rows, of whole documents, the first ones; 0 = all. input: what `hook` is
  // reconstructed from; a row takes part when both include it. Empty: itself.
  HeldoutRows(const ChunkReader& file, std::string hook, std::uint64_t max_rows,
              const std::string& input = {});
  [[nodiscard]] std::uint64_t rows() const { return rows_; }
  [[nodiscard]] std::size_t d_in() const;
  [[nodiscard]] const std::string& hook() const { return hook_; }
  // The whole units that begin in a rank's share of the rows.
  [[nodiscard]] RowRange of_rank(int rank, int size) const;

  // same_cuts: pieces are cut at the same rows for every range, so those at its ends reach beyond
  // it: what depends on the rows of a call (BatchTopK in training mode) does not depend on the
  // range.
  // doing: what the progress line and the watchdog name; empty: neither. stop: polled before each
  // piece; null: nothing can stop it.
  void for_each_piece(RowRange range, bool same_cuts, const std::string& doing, SharedStop* stop,
                      const std::function<void(const RowPiece&)>& use) const;

 private:
  [[nodiscard]] std::uint64_t next_unit(std::uint64_t row) const;
  const ChunkReader& file_;
  std::string hook_;
  std::size_t column_, input_;
  std::uint64_t rows_;
  std::vector<std::uint64_t> unit_starts_;  // rows
};

}  // namespace refract
