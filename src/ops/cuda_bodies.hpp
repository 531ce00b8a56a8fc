#pragma once
// The CUDA twins of the ops, called only where has_cuda holds, with shapes already checked.
#include "refract/ops/batch_top.hpp"
#include "refract/ops/feature_gradients.hpp"
#include "refract/tensor/tensor.hpp"

namespace refract::cuda {

void gelu_new(TensorView<float> x, Stream& stream);

// batch_top_cuda.cu
void count_high(const RowEntries& candidates, TensorView<const std::uint8_t> included,
                TensorView<const std::uint64_t> unless, TensorView<std::uint64_t> counts,
                Stream& stream);
void find_high(TensorView<const std::uint64_t> counts, std::size_t k, bool complete,
               TensorView<std::uint64_t> bar, Stream& stream);
void count_low(const RowEntries& candidates, TensorView<const std::uint64_t> bar,
               TensorView<std::uint64_t> counts, Stream& stream);
void find_low(TensorView<const std::uint64_t> counts, TensorView<std::uint64_t> bar,
              Stream& stream);
void count_equals(const RowEntries& candidates, TensorView<const std::uint64_t> bar,
                  const SliceOrder& order, TensorView<std::uint64_t> counts, Stream& stream);
void keep_largest(const RowEntries& candidates, TensorView<const std::uint64_t> bar,
                  const SliceOrder& order, TensorView<const std::uint64_t> counts,
                  const RowEntries& kept, Stream& stream);
void follow_bar(TensorView<const std::uint64_t> bar, double rate, TensorView<float> threshold,
                Stream& stream);
void keep_merged(TensorView<const float> all_values, TensorView<const std::uint32_t> all_counts,
                 std::size_t rank, const RowEntries& entries, Stream& stream);

// feature_gradients_cuda.cu
void feature_gradients(const GradientSource& source, std::size_t first, TensorView<float> gradients,
                       Stream& stream);

// finish_gradients_cuda.cu
void finish_gradients(const FinishGradients& how, TensorView<float> gradients,
                      TensorView<double> panels, Stream& stream);
void bias_gradient(TensorView<const double> sums, TensorView<const double> panels, double clip,
                   TensorView<double> db_dec, TensorView<double> scalars, Stream& stream);
void explain_overflow(TensorView<const float> x, TensorView<const float> W_enc,
                      TensorView<const float> b_enc, TensorView<const float> b_dec,
                      TensorView<double> scalars, Stream& stream);

// unless_gemm_cuda.cu: y [M, N] := x [M, K] W [N, K]^T; nothing when unless[0] is not 0, which
// cuBLAS cannot be told.
void gemm_nt_unless(TensorView<const std::uint64_t> unless, TensorView<const float> x,
                    TensorView<const float> W, TensorView<float> y, Stream& stream);

}  // namespace refract::cuda
