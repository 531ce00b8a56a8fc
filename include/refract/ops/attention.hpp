#pragma once
#include <cstdint>
#include <span>

#include "refract/tensor/tensor.hpp"

namespace refract {

struct AttentionShape {
  std::size_t heads = 0;     // H, of queries
  std::size_t kv_heads = 0;  // Hkv, divides H: query head h looks at head h / (H / Hkv)
  std::size_t head_width = 0;
  float scale = 1;
  std::size_t window = 0;  // keys a query sees, its own with them; 0: all before it
  float soft_cap = 0;      // 0: none
};

// Causal attention inside segments, all heads: out_i = sum over j of softmax_j(s_ij) v_j, over
// i - window < j <= i. s_ij = scale q_i . k_j, or cap tanh(scale q_i . k_j / cap) with a soft cap.
// transformers: eager_attention_forward of Llama and Gemma 2, sliding_window and repeat_kv.
//
// qkv [N, (H + 2 Hkv) Dh] f32: q of all heads, then k, then v. out [N, H Dh] f32. segment_starts
// [S + 1], first 0, last N, ascending, on the host. The bytes of a segment's rows are a function of
// that segment alone, and a window as long as the segment is none. Keys that no query of a block of
// 64 sees cost nothing but a copy.
void causal_attention(TensorView<const float> qkv, std::span<const std::uint32_t> segment_starts,
                      const AttentionShape& shape, TensorView<float> out, Stream& stream);

}  // namespace refract
