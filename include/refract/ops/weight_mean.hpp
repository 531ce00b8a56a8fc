#pragma once
// The exponential mean of weights over updates, corrected for its beginning. With the mean M_t of
// decay b, M_t = b M_{t-1} + (1 - b) w_t and M_0 = 0, what is kept is M_t / (1 - b^t) itself:
//
//   mean += rate (w - mean),  rate_t = (1 - b) / (1 - b^t)
//
// so that the first update's weights are the first mean, and nothing is divided when it is used.
// Each value is of its own alone: the same for any number of threads, and on CUDA. Where
// scalars[kFinite] is 0 nothing is changed.
#include <cstdint>

#include "refract/tensor/tensor.hpp"

namespace refract {

// update: counted from 1.
[[nodiscard]] float weight_mean_rate(double decay, std::uint64_t update);

// mean: of the shape of w.
void follow_weights(TensorView<const float> w, float rate, TensorView<const double> scalars,
                    TensorView<float> mean, Stream& stream);

}  // namespace refract
