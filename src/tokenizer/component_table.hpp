#pragma once
// The tables of a pipeline's components: a row has the "type" of a block and makes the component.
#include <fmt/ranges.h>

#include <algorithm>
#include <string_view>
#include <vector>

#include "refract/base/error.hpp"
#include "tokenizer/json_block.hpp"

namespace refract {

// The row whose type is the block's. DataError lists Sequence, which the caller takes apart, and
// the rows, and names the file that a row would be added to.
template <typename Row, std::size_t kCount>
const Row& row_of(const Row (&rows)[kCount], const JsonBlock& block, std::string_view table_file) {
  const std::string_view type = block.text("type");
  const auto found = std::ranges::find(rows, type, &Row::type);
  if (found != std::end(rows)) return *found;
  std::vector<std::string_view> known{"Sequence"};
  for (const Row& row : rows) known.push_back(row.type);
  throw DataError(
      "{} is '{}', known: {}. Use a model whose tokenizer has one of these, or add a row to {}",
      block.path_of("type"), type, fmt::join(known, ", "), table_file);
}

}  // namespace refract
