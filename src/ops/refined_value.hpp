#pragma once
// What refine_entries makes of one entry, the same text for the CPU and for CUDA (ops/step_loss.hpp
// says how).
#include "ops/fast_exp.hpp"
#include "refract/ops/refine_entries.hpp"

namespace refract {

struct RefinementPointers {
  Refinement::Kind kind;
  const float *threshold, *b_gate, *b_mag, *r_mag;
  float half_width;
};
inline RefinementPointers pointers_of(const Refinement& by) {
  return {by.kind,         by.threshold.data(), by.b_gate.data(),
          by.b_mag.data(), by.r_mag.data(),     by.half_width};
}

// True where the entry stays, with its value.
constexpr bool refine(const RefinementPointers& by, std::uint32_t f, float& value) {
  switch (by.kind) {
    case Refinement::Kind::above: return value > by.threshold[f];
    case Refinement::Kind::window: {
      const float off = value - by.threshold[f];
      return (off < 0 ? -off : off) < by.half_width;
    }
    default: value = fast_exp(by.r_mag[f]) * (value - by.b_gate[f]) + by.b_mag[f]; return value > 0;
  }
}

}  // namespace refract
