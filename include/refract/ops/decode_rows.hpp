#pragma once
// Sparse decoding of entries by row.
//
//   sum[i]  = sum over the row's entries, features ascending and within bounds where they are
//             given, of value * W_dec[feature]
//   decode_rows:  out[i] = sum[i], or base[i] - sum[i] with a base
//
// sum is rounded before it is subtracted, so that a base taken afterwards (subtract_from) gives the
// same bytes. W_dec [F, D], base, out [n, D]; out is not base.
#include "refract/ops/entries.hpp"

namespace refract {

struct FeatureBounds {
  std::size_t first = 0, end = 0xFFFFFFFF;
};

// With `unless_zero` [1] given and 0, nothing is done.
void decode_rows(const RowEntries& entries, TensorView<const float> W_dec,
                 TensorView<const float> base, TensorView<float> out,
                 TensorView<const std::uint64_t> unless_zero, Stream& stream,
                 const FeatureBounds& of = {});

// sums[i] = base[i] - sums[i]
void subtract_from(TensorView<const float> base, TensorView<float> sums, Stream& stream);

}  // namespace refract
