#include "refract/ops/step_sums.hpp"

#include <algorithm>

#include "ops/backend.hpp"
#include "ops/cuda_bodies.hpp"
#include "ops/step_loss.hpp"
#include "refract/base/build_info.hpp"
#include "refract/base/error.hpp"
#include "refract/base/parallel.hpp"
#include "refract/tensor/dot.hpp"

namespace refract {

void sum_slices(const SliceSums& from, std::size_t slice_rows, TensorView<double> out,
                Stream& stream) {
  const std::size_t n = from.error.axis(0), d_out = from.error.axis(1), slices = n / slice_rows,
                    width = kErrorSum + d_out;
  REFRACT_ASSERT(slices * slice_rows == n, "n {} slice_rows {}", n, slice_rows);
  expect_shape(out, "out", {{"slices", slices}, {"width", width}});
  if constexpr (has_cuda)
    if (stream.device().kind == DeviceKind::cuda)
      return cuda::sum_slices(from, slice_rows, out, stream);
  expect_cpu(stream, "sum_slices");
  const bool aux =
      from.aux_error.size() != 0 && (from.any_dead.size() == 0 || from.any_dead.data()[0] != 0);
  parallel_for(slices, [&](std::size_t slice) {
    double* sums = out.data() + slice * width;
    std::fill_n(sums, width, 0.0);
    for (std::size_t row = slice * slice_rows; row < (slice + 1) * slice_rows; ++row) {
      if (from.included.data()[row] == 0) continue;
      const float* error = from.error.data() + row * d_out;
      const std::uint64_t first = from.entries.starts.data()[row];
      const std::size_t count = from.entries.counts.data()[row];
      sums[kActive] += static_cast<double>(count);
      for (std::size_t j = 0; j < count; ++j)
        sums[kActivation] += static_cast<double>(from.entries.values.data()[first + j]);
      if (!from.errors) continue;
      sums[kSquaredError] += squared_norm(error, d_out);
      if (aux) sums[kAuxSquaredError] += squared_norm(from.aux_error.data() + row * d_out, d_out);
      for (std::size_t d = 0; d < d_out; ++d) sums[kErrorSum + d] += static_cast<double>(error[d]);
    }
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

void loss_scalars(TensorView<const double> sums, TensorView<const std::uint64_t> rows,
                  const LossTerms& terms, TensorView<double> scalars, Stream& stream) {
  expect_shape(scalars, "scalars", {{"scalars", kStepScalars}});
  if constexpr (has_cuda)
    if (stream.device().kind == DeviceKind::cuda)
      return cuda::loss_scalars(sums, rows, terms, scalars, stream);
  expect_cpu(stream, "loss_scalars");
  loss_scalars_of(sums.data(), sums.size() - kErrorSum, rows.data()[0], terms, scalars.data());
}

}  // namespace refract
