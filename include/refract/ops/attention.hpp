#pragma once
#include <cstdint>
#include <span>

#include "refract/tensor/tensor.hpp"

namespace refract {

// Causal attention inside segments, all heads: out_i = sum over j <= i of softmax_j(scale q_i .
// k_j) v_j. qkv [N, 3 H Dh] f32: q of all heads, then k, then v. out [N, H Dh] f32. segment_starts
// [S + 1], first 0, last N, ascending, on the host. The bytes of a segment's rows are a function of
// that segment alone.
void causal_attention(TensorView<const float> qkv, std::span<const std::uint32_t> segment_starts,
                      std::size_t heads, float scale, TensorView<float> out, Stream& stream);

}  // namespace refract
