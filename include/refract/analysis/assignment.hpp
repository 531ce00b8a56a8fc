#pragma once
// The one-to-one matching of rows to columns with the largest sum.
//
// No library of Debian has the dense rectangular problem in reals (dlib takes integers and square
// matrices, LEMON and Boost general graphs), so it is the method of shortest augmenting paths with
// dual variables (Jonker and Volgenant 1987; Crouse 2016 for rectangles, as SciPy's
// linear_sum_assignment has it).
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

namespace refract {

// score [rows, columns], finite. min(rows, columns) pairs (row, column), rows ascending. Time: at
// most min(rows, columns)^2 max(rows, columns). A stop point for each row. Where several matchings
// have the same sum, which one is found is a function of the matrix alone.
[[nodiscard]] std::vector<std::pair<std::size_t, std::size_t>> best_assignment(
    std::span<const double> score, std::size_t rows, std::size_t columns);

}  // namespace refract
