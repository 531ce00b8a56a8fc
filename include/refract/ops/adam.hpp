#pragma once
// Adam (Kingma and Ba 2015) on feature rows, so that a dictionary can be updated in shards; the
// order of a step (DESIGN, SPEC 6): gradients finished (ops/feature_gradients.hpp), scaled by the
// global clip, Adam, decoder rows back to the nearest unit row (without negative entries, where
// that is asked for). Where scalars[kFinite] is 0 nothing is changed.
#include "refract/ops/feature_gradients.hpp"

namespace refract {

// w -= rate * m / (sqrt(v) * root + epsilon): Adam's bias corrections folded into rate and root.
struct AdamNumbers {
  float beta1, rest1, beta2, rest2, rate, root, epsilon;  // rest = 1 - beta, taken in fp64
};

struct AdamRows {                                    // of the gradients' features
  TensorView<float> W_enc, b_enc, W_dec, threshold;  // threshold: trained by gradients, else empty
  TensorView<float> m_W_enc, m_b_enc, m_W_dec, m_threshold;
  TensorView<float> v_W_enc, v_b_enc, v_W_dec, v_threshold;
  bool non_negative_decoder = false;
};

void adam_rows(TensorView<const float> gradients /* [count, GradientRow] */, const AdamRows& rows,
               const AdamNumbers& numbers, TensorView<const double> scalars, Stream& stream);
// gradient [D] f64; w, m, v [D]
void adam_vector(TensorView<const double> gradient, TensorView<float> w, TensorView<float> m,
                 TensorView<float> v, const AdamNumbers& numbers, TensorView<const double> scalars,
                 Stream& stream);

}  // namespace refract
