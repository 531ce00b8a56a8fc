#pragma once
// The CUDA twins of the ops, called only where has_cuda holds, with shapes already checked.
#include "refract/ops/adam.hpp"
#include "refract/ops/entries.hpp"
#include "refract/ops/feature_ages.hpp"
#include "refract/ops/gather_rows.hpp"
#include "refract/ops/step_sums.hpp"
#include "refract/tensor/tensor.hpp"

namespace refract::cuda {

void gelu_new(TensorView<float> x, Stream& stream);

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

// decode_rows_cuda.cu
void decode_rows(const RowEntries& entries, TensorView<const float> W_dec,
                 TensorView<const float> base, TensorView<float> out,
                 TensorView<const std::uint64_t> unless_zero, Stream& stream);
void subtract_from(TensorView<const float> base, TensorView<float> sums, Stream& stream);

// step_sums_cuda.cu
void sum_slices(const SliceSums& from, std::size_t slice_rows, TensorView<double> out,
                Stream& stream);
void add_slices(TensorView<const double> slices, TensorView<double> sums, Stream& stream);
void loss_scalars(TensorView<const double> sums, TensorView<const std::uint64_t> rows,
                  const LossTerms& terms, TensorView<double> scalars, Stream& stream);

// adam_cuda.cu
void adam_rows(TensorView<const float> gradients, const AdamRows& rows, const AdamNumbers& numbers,
               TensorView<const double> scalars, Stream& stream);
void adam_vector(TensorView<const double> gradient, TensorView<float> w, TensorView<float> m,
                 TensorView<float> v, const AdamNumbers& numbers, TensorView<const double> scalars,
                 Stream& stream);

// feature_ages_cuda.cu
void update_ages(TensorView<const std::uint64_t> counts, bool first_pass,
                 TensorView<std::uint64_t> age, Stream& stream);
void list_dead(TensorView<const std::uint64_t> age, std::uint64_t dead_after,
               const DeadFeatures& dead, Stream& stream);
void note_dead(TensorView<const std::uint64_t> count, TensorView<double> scalars, Stream& stream);

}  // namespace refract::cuda
