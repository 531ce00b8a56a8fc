#include "refract/ops/embedding.hpp"

#include <algorithm>

#include "ops/backend.hpp"
#include "ops/workers.hpp"

namespace refract {

void embed(std::span<const std::uint32_t> ids, std::span<const std::uint32_t> positions,
           TensorView<const float> token_table, TensorView<const float> position_table,
           TensorView<float> x, Stream& stream) {
  expect_cpu(stream, "embed");
  const std::size_t rows = ids.size(), width = token_table.axis(1);
  expect_shape(x, "x", {{"N", rows}, {"D", width}});
  expect_shape(position_table, "position_table", {{"P", position_table.axis(0)}, {"D", width}});
  for_each_row(rows, [&](std::size_t i) {
    const float* token = token_table.data() + ids[i] * width;
    const float* position = position_table.data() + positions[i] * width;
    float* to = x.data() + i * width;
    for (std::size_t d = 0; d < width; ++d) to[d] = token[d] + position[d];
  });
}

void embed_tokens(std::span<const std::uint32_t> ids, TensorView<const float> table, float scale,
                  TensorView<float> x, Stream& stream) {
  expect_cpu(stream, "embed_tokens");
  const std::size_t rows = ids.size(), width = table.axis(1);
  expect_shape(x, "x", {{"N", rows}, {"D", width}});
  for_each_row(rows, [&](std::size_t i) {
    const float* token = table.data() + ids[i] * width;
    float* to = x.data() + i * width;
    for (std::size_t d = 0; d < width; ++d) to[d] = scale * token[d];
  });
}

}  // namespace refract
