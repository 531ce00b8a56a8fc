#pragma once
// Rotary position embedding (Su et al. 2021), as transformers lays it out: apply_rotary_pos_emb
// with rotate_half. In every head, dimension i < half and dimension half + i are turned as a pair:
//
//   x_i        := x_i cos - x_(half + i) sin        cos, sin = factor cos(angle), factor sin(angle)
//   x_(half+i) := x_(half + i) cos + x_i sin        angle = position * inverse_frequency_i
//
// Dimensions from 2 half on stay as they are (the partial rotary of NeoX).
#include <cstdint>
#include <span>

#include "refract/ops/head_columns.hpp"
#include "refract/tensor/tensor.hpp"

namespace refract {

enum class AngleRounding {
  none,  // the angle in fp64: what the formula says
  fp32   // frequency and angle each rounded to fp32, as transformers does
};

// cos and sin of all positions, [P, half] f32 each, on the host. Computed in fp64 and rounded once.
//
// transformers rounds the inverse frequency f and the angle p f to fp32 before it takes the cosine,
// so that its tables are off the formula by up to factor p f 2^-23: 1e-4 at position 1000, 1e-3 at
// 8192. AngleRounding::fp32 repeats these two roundings, and is within two last bits (factor 2^-22)
// of tables made from the same fp32 frequencies. transformers' own frequencies are those of an fp32
// pow, up to some last bits off: what is left of the difference grows with p in the same way.
class RotaryTables {
 public:
  // inverse_frequencies [half]; factor is transformers' attention_scaling, 1 for most models.
  RotaryTables(std::span<const double> inverse_frequencies, double factor, std::size_t positions,
               AngleRounding rounding);

  [[nodiscard]] std::size_t positions() const { return cos_.axis(0); }
  [[nodiscard]] std::size_t half() const { return cos_.axis(1); }
  [[nodiscard]] TensorView<const float> cos() const { return cos_.cview(); }
  [[nodiscard]] TensorView<const float> sin() const { return sin_.cview(); }

 private:
  Tensor<float> cos_, sin_;
};

// Turns the heads of every row in place, row i by positions[i]. x [N, C] f32; positions [N] on the
// host, below tables.positions() (the caller has checked); heads.width at least 2 half.
void rotate(TensorView<float> x, std::span<const std::uint32_t> positions, HeadColumns heads,
            const RotaryTables& tables, Stream& stream);

}  // namespace refract
