#pragma once
// Some entries of a list, or other values of them: what a threshold, a window about it or a gate
// leaves of the pre-activations v that encode_select has listed. Every vector is [F] of the tile.
//
//   above   v > threshold[f]                          value v
//   window  |v - threshold[f]| < half_width           value v
//   gate    exp(r_mag[f]) (v - b_gate[f]) + b_mag[f] > 0, which is the value
#include <cstdint>

#include "refract/ops/entries.hpp"

namespace refract {

struct Refinement {
  enum class Kind : std::uint8_t { above, window, gate } kind = Kind::above;
  TensorView<const float> threshold{};
  float half_width = 0;
  TensorView<const float> b_gate{}, b_mag{}, r_mag{};
};

// `to` has room for as many places as `from`, per_row 0: a row's entries stay where they are in
// `from`, ascending.
void refine_entries(const RowEntries& from, const Refinement& by, const RowEntries& to,
                    Stream& stream);

}  // namespace refract
