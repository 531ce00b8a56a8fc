#include "refract/analysis/assignment.hpp"

#include <algorithm>
#include <limits>

#include "refract/base/error.hpp"
#include "refract/base/stop.hpp"

namespace refract {
namespace {

constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// At least as many columns as rows. Invariant between rows: cost - u - v >= 0, and = 0 on pairs.
class Matching {
 public:
  Matching(std::span<const double> cost, std::size_t rows, std::size_t columns)
      : cost_(cost),
        columns_(columns),
        u_(rows, 0.0),
        v_(columns, 0.0),
        column_of_(rows, kNone),
        row_of_(columns, kNone) {
    for (std::size_t row = 0; row < rows; ++row) {
      stop_point();
      match(row);
    }
  }
  [[nodiscard]] const std::vector<std::size_t>& column_of() const { return column_of_; }

 private:
  // Dijkstra from a free row over reduced costs to the nearest free column; the pairs along the
  // path change places.
  void match(std::size_t start) {
    std::vector<double> distance(columns_, kInfinity);
    std::vector<std::size_t> reached_from(columns_, kNone), open(columns_);
    for (std::size_t j = 0; j < columns_; ++j) open[j] = j;
    std::vector<std::size_t> closed;
    std::size_t row = start, last = kNone;
    double so_far = 0;
    while (last == kNone) {
      std::size_t nearest = 0;
      const double* cost = cost_.data() + row * columns_;
      for (std::size_t o = 0; o < open.size(); ++o) {
        const std::size_t j = open[o];
        const double through = so_far + cost[j] - u_[row] - v_[j];
        if (through < distance[j]) {
          distance[j] = through;
          reached_from[j] = row;
        }
        const double best = distance[open[nearest]];
        if (distance[j] < best || (distance[j] == best && row_of_[j] == kNone)) nearest = o;
      }
      const std::size_t column = open[nearest];
      so_far = distance[column];
      open[nearest] = open.back();
      open.pop_back();
      if (row_of_[column] == kNone) {
        last = column;
      } else {
        closed.push_back(column);
        row = row_of_[column];
      }
    }
    u_[start] += so_far;
    for (const std::size_t column : closed) {
      u_[row_of_[column]] += so_far - distance[column];
      v_[column] -= so_far - distance[column];
    }
    for (std::size_t column = last; column != kNone;) {
      const std::size_t from = reached_from[column];
      row_of_[column] = from;
      std::swap(column_of_[from], column);
      if (from == start) break;
    }
  }

  std::span<const double> cost_;
  std::size_t columns_;
  std::vector<double> u_, v_;
  std::vector<std::size_t> column_of_, row_of_;
};

}  // namespace

std::vector<std::pair<std::size_t, std::size_t>> best_assignment(std::span<const double> score,
                                                                 std::size_t rows,
                                                                 std::size_t columns) {
  REFRACT_ASSERT(score.size() == rows * columns, "{} scores of {} x {}", score.size(), rows,
                 columns);
  const bool turned = rows > columns;
  std::vector<double> cost(score.size());
  for (std::size_t i = 0; i < rows; ++i)
    for (std::size_t j = 0; j < columns; ++j)
      cost[turned ? j * rows + i : i * columns + j] = -score[i * columns + j];
  const Matching matching(cost, std::min(rows, columns), std::max(rows, columns));
  std::vector<std::pair<std::size_t, std::size_t>> pairs;
  for (std::size_t i = 0; i < matching.column_of().size(); ++i) {
    const std::size_t j = matching.column_of()[i];
    pairs.emplace_back(turned ? j : i, turned ? i : j);
  }
  std::ranges::sort(pairs);
  return pairs;
}

}  // namespace refract
