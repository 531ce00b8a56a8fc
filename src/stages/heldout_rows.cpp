#include "refract/stages/heldout_rows.hpp"

#include <algorithm>

#include "refract/base/activity.hpp"
#include "refract/base/progress.hpp"
#include "refract/order/sample_order.hpp"

namespace refract {
namespace {

constexpr std::uint64_t kRowsAtATime = 4096;

// Rows with which a document begins.
std::vector<std::uint64_t> document_starts(const ChunkReader& file, std::uint64_t rows) {
  std::vector<std::uint64_t> starts;
  std::uint64_t before = 0;
  for (std::uint64_t first = 0; first < rows; first += kRowsAtATime) {
    const std::vector<std::uint64_t> documents =
        file.read_identity(first, std::min(kRowsAtATime, rows - first)).document;
    for (std::uint64_t i = 0; i < documents.size(); ++i) {
      if (first + i == 0 || documents[i] != before) starts.push_back(first + i);
      before = documents[i];
    }
  }
  return starts;
}

Tensor<float> rows_of(const ChunkReader& file, std::size_t hook, std::uint64_t first,
                      std::uint64_t count, Tensor<float> made) {
  const Shape shape{count, file.spec().hooks[hook].d_in};
  if (made.shape() != shape) made = Tensor<float>(shape);
  file.read_rows(hook, first, count, made.span());
  return made;
}

std::vector<std::uint64_t> every_unit(std::vector<std::uint64_t> documents) {
  const std::size_t units = std::min(documents.size(), HeldoutRows::kMostUnits);
  std::vector<std::uint64_t> starts;
  for (std::size_t u = 0; u < units; ++u) starts.push_back(documents[u * documents.size() / units]);
  return starts;
}

}  // namespace

std::uint64_t rows_of_whole_documents(const ChunkReader& file, std::uint64_t max_rows) {
  if (max_rows == 0 || max_rows >= file.rows()) return file.rows();
  const std::vector<std::uint64_t> documents = file.read_identity(0, max_rows + 1).document;
  std::uint64_t rows = max_rows;
  while (rows > 0 && documents[rows - 1] == documents[rows]) --rows;
  return rows != 0 ? rows : max_rows;
}

HeldoutRows::HeldoutRows(const ChunkReader& file, std::string hook, std::uint64_t max_rows,
                         const std::string& input)
    : file_(file),
      hook_(std::move(hook)),
      column_(file.hook_index(hook_)),
      input_(input.empty() ? column_ : file.hook_index(input)),
      rows_(rows_of_whole_documents(file, max_rows)),
      unit_starts_(every_unit(document_starts(file, rows_))) {}

std::size_t HeldoutRows::d_in() const { return file_.spec().hooks[column_].d_in; }

// The first row from `row` on with which a unit begins; the end where there is none.
std::uint64_t HeldoutRows::next_unit(std::uint64_t row) const {
  const auto next = std::ranges::lower_bound(unit_starts_, row);
  return next == unit_starts_.end() ? rows_ : *next;
}

RowRange HeldoutRows::of_rank(int rank, int size) const {
  const Share share = share_of(rows_, rank, size);
  return {next_unit(share.first), next_unit(share.first + share.count)};
}

void HeldoutRows::for_each_piece(RowRange range, bool same_cuts, const std::string& doing,
                                 SharedStop* stop,
                                 const std::function<void(const RowPiece&)>& use) const {
  if (!doing.empty()) working(doing);
  Progress progress(doing, range.last - range.first, "rows", doing.empty());
  if (range.first == range.last) return;
  RowPiece piece;
  const std::uint64_t begin = same_cuts ? range.first / kRowsAtATime * kRowsAtATime : range.first,
                      end = same_cuts ? rows_ : range.last;
  for (std::uint64_t first = begin; first < range.last; first += kRowsAtATime) {
    if (stop)
      stop->poll();
    else
      tick();
    const std::uint64_t count = std::min(kRowsAtATime, end - first);
    piece.x = rows_of(file_, column_, first, count, std::move(piece.x));
    if (input_ != column_)
      piece.input = rows_of(file_, input_, first, count, std::move(piece.input));
    piece.first = first;
    piece.identity = file_.read_identity(first, count);
    piece.included = file_.read_excluded(column_, first, count);
    if (input_ != column_) {
      const std::vector<std::uint8_t> excluded = file_.read_excluded(input_, first, count);
      for (std::uint64_t i = 0; i < count; ++i) piece.included[i] |= excluded[i];
    }
    for (std::uint8_t& flag : piece.included) flag = flag == 0 ? 1 : 0;
    piece.counted = piece.included;
    for (std::uint64_t i = 0; i < count; ++i)
      if (first + i < range.first || first + i >= range.last) piece.counted[i] = 0;
    piece.unit.clear();
    auto unit = std::ranges::upper_bound(unit_starts_, first);
    for (std::uint64_t i = 0; i < count; ++i) {
      if (unit != unit_starts_.end() && *unit == first + i) ++unit;
      piece.unit.push_back(static_cast<std::uint64_t>(unit - unit_starts_.begin()) - 1);
    }
    use(piece);
    progress.advance(std::min(first + count, range.last) - std::max(first, range.first));
  }
}

}  // namespace refract
