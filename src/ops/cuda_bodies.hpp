#pragma once
// The CUDA twins of the ops, called only where has_cuda holds, with shapes already checked.
#include "refract/ops/adam.hpp"
#include "refract/ops/batch_top.hpp"
#include "refract/ops/decode_rows.hpp"
#include "refract/ops/entries.hpp"
#include "refract/ops/entry_penalty.hpp"
#include "refract/ops/feature_ages.hpp"
#include "refract/ops/feature_gradients.hpp"
#include "refract/ops/gather_rows.hpp"
#include "refract/ops/refine_entries.hpp"
#include "refract/ops/step_sums.hpp"
#include "refract/tensor/tensor.hpp"

namespace refract::cuda {

void gelu_new(TensorView<float> x, Stream& stream);
void add(TensorView<float> x, TensorView<const float> y, Stream& stream);

// entry_penalty_cuda.cu
void row_norms(TensorView<const float> W, TensorView<float> norms, Stream& stream);
void sum_rates(const RowEntries& entries, float steepness, TensorView<const std::uint8_t> included,
               TensorView<std::uint64_t> rates, Stream& stream);
void rate_slopes(TensorView<const std::uint64_t> rates, double target, TensorView<float> slopes,
                 TensorView<double> penalty, Stream& stream);

// refine_entries_cuda.cu
void refine_entries(const RowEntries& from, const Refinement& by, const RowEntries& to,
                    Stream& stream);

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
                 const Merge& merge, const RowEntries& entries, Stream& stream);

// feature_gradients_cuda.cu
void feature_gradients(const GradientSource& source, std::size_t first, TensorView<float> gradients,
                       Stream& stream);

// finish_gradients_cuda.cu
void finish_gradients(const FinishGradients& how, TensorView<float> gradients,
                      TensorView<double> panels, Stream& stream);
void bias_gradient(TensorView<const double> errors, TensorView<const double> panels, double clip,
                   TensorView<double> db_dec, TensorView<double> scalars, Stream& stream);
void explain_overflow(TensorView<const float> x, TensorView<const float> W_enc,
                      TensorView<const float> b_enc, TensorView<const float> b_dec,
                      TensorView<double> scalars, Stream& stream);

// unless_gemm_cuda.cu: y [M, N] := x [M, K] W [N, K]^T; nothing when unless[0] is not 0, which
// cuBLAS cannot be told.
void gemm_nt_unless(TensorView<const std::uint64_t> unless, TensorView<const float> x,
                    TensorView<const float> W, TensorView<float> y, Stream& stream);

// entries_cuda.cu
void sort_by_feature(const RowEntries& from, const FeatureEntriesBuffer& to, Stream& stream);
void count_entries(const RowEntries& entries, TensorView<const std::uint8_t> included,
                   TensorView<std::uint64_t> counts, Stream& stream);

// gather_rows_cuda.cu
void gather_rows(const StoredRows& stored, TensorView<const std::uint32_t> rows, float scale,
                 std::size_t column, TensorView<float> x, Stream& stream);
void gather_flags(TensorView<const std::uint8_t> flags, TensorView<const std::uint32_t> rows,
                  bool narrow, TensorView<std::uint8_t> out, Stream& stream);
void centre_rows(TensorView<const float> x, TensorView<const float> offset, TensorView<float> out,
                 Stream& stream);

// row_norm_cuda.cu
void normalise_rows(TensorView<const float> x, TensorView<float> u, Stream& stream);
void restore_rows(TensorView<const float> x, TensorView<const float> u_hat, TensorView<float> x_hat,
                  Stream& stream);

// decode_rows_cuda.cu
void decode_rows(const RowEntries& entries, TensorView<const float> W_dec,
                 TensorView<const float> base, TensorView<float> out,
                 TensorView<const std::uint64_t> unless_zero, Stream& stream,
                 const FeatureBounds& of);
void subtract_from(TensorView<const float> base, TensorView<float> sums, Stream& stream);

// step_sums_cuda.cu
void sum_slices(const SliceSums& from, std::size_t slice_rows, TensorView<double> out,
                Stream& stream);
void add_slices(TensorView<const double> slices, TensorView<double> sums, Stream& stream);
void loss_scalars(TensorView<const double> sums, std::size_t d_out,
                  TensorView<const std::uint64_t> rows, const LossTerms& terms,
                  TensorView<double> scalars, Stream& stream);

// adam_cuda.cu
void adam_rows(TensorView<const float> gradients, const AdamRows& rows, const AdamNumbers& numbers,
               TensorView<const double> scalars, Stream& stream);
void adam_vector(TensorView<const double> gradient, TensorView<float> w, TensorView<float> m,
                 TensorView<float> v, const AdamNumbers& numbers, TensorView<const double> scalars,
                 Stream& stream);

// weight_mean_cuda.cu
void follow_weights(TensorView<const float> w, float rate, TensorView<const double> scalars,
                    TensorView<float> mean, Stream& stream);

// feature_ages_cuda.cu
void update_ages(TensorView<const std::uint64_t> counts, bool first_pass,
                 TensorView<std::uint64_t> age, Stream& stream);
void list_dead(TensorView<const std::uint64_t> age, std::uint64_t dead_after,
               const DeadFeatures& dead, Stream& stream);
void note_dead(TensorView<const std::uint64_t> count, TensorView<double> scalars, Stream& stream);

}  // namespace refract::cuda
