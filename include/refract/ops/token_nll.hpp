#pragma once
#include <cstdint>
#include <span>

#include "refract/tensor/tensor.hpp"

namespace refract {

// nll[i] = log sum_v exp(logits[i, v]) - logits[i, targets[i]]; the sum is in fp64. logits [N, V]
// f32, targets, nll [N] on the host; finished on return.
void token_nll(TensorView<const float> logits, std::span<const std::uint32_t> targets,
               std::span<float> nll, Stream& stream);

}  // namespace refract
