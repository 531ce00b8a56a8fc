#include "refract/stages/heldout_rows.hpp"

#include <algorithm>

#include "refract/base/activity.hpp"
#include "refract/base/progress.hpp"
#include "refract/order/sample_order.hpp"

namespace refract {
namespace {

constexpr std::uint64_t kRowsAtATime = 4096;

std::uint64_t rows_to_use(const ChunkReader& file, std::uint64_t max_rows) {
  if (max_rows == 0 || max_rows >= file.rows()) return file.rows();
  const std::vector<std::uint64_t> documents = file.read_identity(0, max_rows + 1).document;
  std::uint64_t rows = max_rows;
  while (rows > 0 && documents[rows - 1] == documents[rows]) --rows;
  return rows != 0 ? rows : max_rows;
}

}  // namespace

HeldoutRows::HeldoutRows(const ChunkReader& file, std::string hook, std::uint64_t max_rows)
    : file_(file),
      hook_(std::move(hook)),
      column_(file.hook_index(hook_)),
      rows_(rows_to_use(file, max_rows)) {}

std::size_t HeldoutRows::d_in() const { return file_.spec().hooks[column_].d_in; }

// The first row from `row` on with which a document begins; the end where there is none.
std::uint64_t HeldoutRows::next_document(std::uint64_t row) const {
  if (row == 0) return 0;
  for (std::uint64_t first = row; first < rows_; first += kRowsAtATime) {
    const std::uint64_t count = std::min(kRowsAtATime, rows_ - first);
    const std::vector<std::uint64_t> documents = file_.read_identity(first - 1, count + 1).document;
    for (std::uint64_t i = 0; i < count; ++i)
      if (documents[i] != documents[i + 1]) return first + i;
  }
  return rows_;
}

RowRange HeldoutRows::of_rank(int rank, int size) const {
  const Share share = share_of(rows_, rank, size);
  return {next_document(share.first), next_document(share.first + share.count)};
}

void HeldoutRows::for_each_piece(RowRange range, const std::string& doing, SharedStop* stop,
                                 const std::function<void(const RowPiece&)>& use) const {
  if (!doing.empty()) working(doing);
  Progress progress(doing, range.last - range.first, "rows", doing.empty());
  RowPiece piece;
  for (std::uint64_t first = range.first / kRowsAtATime * kRowsAtATime; first < range.last;
       first += kRowsAtATime) {
    if (stop)
      stop->poll();
    else
      tick();
    const std::uint64_t count = std::min(kRowsAtATime, rows_ - first);
    if (piece.x.size() != count * d_in()) piece.x = Tensor<float>(Shape{count, d_in()});
    file_.read_rows(column_, first, count, piece.x.span());
    piece.first = first;
    piece.identity = file_.read_identity(first, count);
    piece.included = file_.read_excluded(column_, first, count);
    for (std::uint8_t& flag : piece.included) flag = flag == 0 ? 1 : 0;
    piece.counted = piece.included;
    for (std::uint64_t i = 0; i < count; ++i)
      if (first + i < range.first || first + i >= range.last) piece.counted[i] = 0;
    use(piece);
    progress.advance(std::min(first + count, range.last) - std::max(first, range.first));
  }
}

}  // namespace refract
