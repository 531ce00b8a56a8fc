#pragma once
#include <cstdint>
#include <span>

#include "refract/tensor/tensor.hpp"

namespace refract {

// x[i] = token_table[ids[i]] + position_table[positions[i]].   ids, positions [N] on the host, in
// range (the caller has checked); tables [V, D], [P, D] f32; x [N, D] f32.
void embed(std::span<const std::uint32_t> ids, std::span<const std::uint32_t> positions,
           TensorView<const float> token_table, TensorView<const float> position_table,
           TensorView<float> x, Stream& stream);

// x[i] = scale table[ids[i]], for models without a table of positions. Gemma's scale is sqrt(D),
// rounded to the type of its table; with 1 the rows are copied. ids [N] on the host, in range;
// table [V, D], x [N, D] f32.
void embed_tokens(std::span<const std::uint32_t> ids, TensorView<const float> table, float scale,
                  TensorView<float> x, Stream& stream);

}  // namespace refract
