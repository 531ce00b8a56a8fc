#pragma once
// Adam (Kingma and Ba 2015) on feature rows, so that a dictionary can be updated in shards; the
// order of a step (DESIGN, SPEC 6): gradients finished (ops/feature_gradients.hpp), scaled by the
// global clip, Adam, decoder rows back to the nearest row that is allowed (of norm 1 unless it is
// free; without negative entries, where that is asked for), thresholds back to at least 0. Where
// scalars[kFinite] is 0 nothing is changed.
#include <array>

#include "refract/ops/feature_gradients.hpp"

namespace refract {

// w -= rate * m / (sqrt(v) * root + epsilon): Adam's bias corrections folded into rate and root.
struct AdamNumbers {
  float beta1, rest1, beta2, rest2, rate, root, epsilon;  // rest = 1 - beta, taken in fp64
};

struct AdamWeights {
  TensorView<float> w, m, v;
};
struct AdamRows {  // of the gradients' features
  AdamWeights W_enc, b_enc, W_dec;
  std::array<AdamWeights, kFurther> further{};  // those that are trained by gradients, else empty
  bool further_is_threshold = false;            // the first of them: at least 0
  DecoderRule decoder{};
};

void adam_rows(TensorView<const float> gradients /* [count, GradientRow] */, const AdamRows& rows,
               const AdamNumbers& numbers, TensorView<const double> scalars, Stream& stream);
// gradient [D] f64; w, m, v [D]
void adam_vector(TensorView<const double> gradient, TensorView<float> w, TensorView<float> m,
                 TensorView<float> v, const AdamNumbers& numbers, TensorView<const double> scalars,
                 Stream& stream);

}  // namespace refract
