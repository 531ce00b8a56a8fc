#pragma once
#include <span>

#include "refract/tensor/tensor.hpp"

namespace refract {

// kl[i] = sum_v p_v (log p_v - log q_v) in nats, for p = softmax(p_logits[i]), q = softmax(
// q_logits[i]); sums in fp64, and to within 1e-6. What underflows in p adds nothing, what
// underflows in q alone keeps its logarithm: never NaN for finite logits, never negative, 0 for
// equal ones. p_logits, q_logits [N, V] f32, kl [N] on the host; finished on return.
void token_kl(TensorView<const float> p_logits, TensorView<const float> q_logits,
              std::span<float> kl, Stream& stream);

}  // namespace refract
