#include "refract/ops/step_sums.hpp"

#include <algorithm>

#include "ops/backend.hpp"
#include "ops/cuda_bodies.hpp"
#include "ops/penalty_of_entry.hpp"
#include "ops/step_loss.hpp"
#include "refract/base/build_info.hpp"
#include "refract/base/error.hpp"
#include "refract/base/parallel.hpp"
#include "refract/tensor/dot.hpp"

namespace refract {
namespace {

double penalty_of_row(const SliceSums& from, std::size_t row) {
  const EntryPenalty& penalty = from.penalty;
  FeaturePenalty own{.kind = penalty.kind, .steepness = penalty.steepness};
  const std::uint64_t first = from.penalised.starts.data()[row];
  double sum = 0;
  for (std::uint64_t j = first; j < first + from.penalised.counts.data()[row]; ++j) {
    if (penalty.norms.size() != 0)
      own.norm = penalty.norms.data()[from.penalised.features.data()[j]];
    sum += static_cast<double>(penalty_value(own, from.penalised.values.data()[j]));
  }
  return sum;
}

void add_prefixes(const SliceSums& from, std::size_t row, double* sums) {
  const std::size_t d_out = from.error.axis(1);
  double* total = sums + kErrorSum + d_out;
  for (std::size_t d = 0; d < d_out && !from.prefix_errors.empty(); ++d) {
    double sum = static_cast<double>(from.error.data()[row * d_out + d]);
    for (const TensorView<const float>& prefix : from.prefix_errors)
      sum += static_cast<double>(prefix.data()[row * d_out + d]);
    total[d] += sum;
  }
  double squared = 0;
  for (const TensorView<const float>& prefix : from.prefix_errors)
    squared += squared_norm(prefix.data() + row * d_out, d_out);
  sums[kPrefixSquaredError] += squared;
}

}  // namespace

void sum_slices(const SliceSums& from, std::size_t slice_rows, TensorView<double> out,
                Stream& stream) {
  const std::size_t n = from.error.axis(0), d_out = from.error.axis(1), slices = n / slice_rows,
                    width = kErrorSum + d_out * (from.prefix_errors.empty() ? 1 : 2);
  REFRACT_ASSERT(from.prefix_errors.size() <= kMostPrefixes, "{} prefixes",
                 from.prefix_errors.size());
  REFRACT_ASSERT(slices * slice_rows == n, "n {} slice_rows {}", n, slice_rows);
  expect_shape(out, "out", {{"slices", slices}, {"width", width}});
  if constexpr (has_cuda)
    if (stream.device().kind == DeviceKind::cuda)
      return cuda::sum_slices(from, slice_rows, out, stream);
  expect_cpu(stream, "sum_slices");
  const EntryPenalty& penalty = from.penalty;
  const bool aux =
      from.aux_error.size() != 0 && (from.any_dead.size() == 0 || from.any_dead.data()[0] != 0);
  parallel_for(slices, [&](std::size_t slice) {
    double* sums = out.data() + slice * width;
    std::fill_n(sums, width, 0.0);
    for (std::size_t row = slice * slice_rows; row < (slice + 1) * slice_rows; ++row) {
      if (from.included.data()[row] == 0) continue;
      const float* error = from.error.data() + row * d_out;
      const std::size_t count = from.entries.counts.data()[row];
      sums[kActive] += static_cast<double>(count);
      if (penalty.kind != PenaltyKind::none) sums[kPenaltySum] += penalty_of_row(from, row);
      if (!from.errors) continue;
      sums[kSquaredError] += squared_norm(error, d_out);
      if (aux) sums[kAuxSquaredError] += squared_norm(from.aux_error.data() + row * d_out, d_out);
      for (std::size_t d = 0; d < d_out; ++d) sums[kErrorSum + d] += static_cast<double>(error[d]);
      add_prefixes(from, row, sums);
    }
    if (slice == 0 && from.whole_penalty.size() != 0)
      sums[kPenaltySum] += from.whole_penalty.data()[0];
  });
}

void add_slices(TensorView<const double> slices, TensorView<double> sums, Stream& stream) {
  const std::size_t count = slices.axis(0), width = sums.size();
  expect_shape(slices, "slices", {{"S", count}, {"width", width}});
  if constexpr (has_cuda)
    if (stream.device().kind == DeviceKind::cuda) return cuda::add_slices(slices, sums, stream);
  expect_cpu(stream, "add_slices");
  std::fill_n(sums.data(), width, 0.0);
  for (std::size_t s = 0; s < count; ++s)
    for (std::size_t i = 0; i < width; ++i) sums.data()[i] += slices.data()[s * width + i];
}

void loss_scalars(TensorView<const double> sums, std::size_t d_out,
                  TensorView<const std::uint64_t> rows, const LossTerms& terms,
                  TensorView<double> scalars, Stream& stream) {
  expect_shape(scalars, "scalars", {{"scalars", kStepScalars}});
  if constexpr (has_cuda)
    if (stream.device().kind == DeviceKind::cuda)
      return cuda::loss_scalars(sums, d_out, rows, terms, scalars, stream);
  expect_cpu(stream, "loss_scalars");
  loss_scalars_of(sums.data(), d_out, rows.data()[0], terms, scalars.data());
}

}  // namespace refract
