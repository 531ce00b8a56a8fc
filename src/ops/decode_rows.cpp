#include "refract/ops/decode_rows.hpp"

#include <algorithm>

#include "ops/backend.hpp"
#include "ops/cuda_bodies.hpp"
#include "ops/workers.hpp"
#include "refract/base/build_info.hpp"
#include "refract/base/parallel.hpp"
#include "refract/ops/row_kernels.hpp"

namespace refract {
namespace {

constexpr std::size_t kDirections = 64;  // decoder rows named at a time

struct Places {
  std::uint64_t first, end;
};
// Features ascend, so those within bounds are one piece of the row.
Places places_of(const RowEntries& entries, std::size_t row, const FeatureBounds& of) {
  std::uint64_t first = entries.starts.data()[row], end = first + entries.counts.data()[row];
  const std::uint32_t* features = entries.features.data();
  while (first < end && features[first] < of.first) ++first;
  while (first < end && features[end - 1] >= of.end) --end;
  return {first, end};
}

}  // namespace

void decode_rows(const RowEntries& entries, TensorView<const float> W_dec,
                 TensorView<const float> base, TensorView<float> out,
                 TensorView<const std::uint64_t> unless_zero, Stream& stream,
                 const FeatureBounds& of) {
  const std::size_t n = entries.rows(), d_out = W_dec.axis(1);
  expect_shape(out, "out", {{"n", n}, {"D", d_out}});
  if (base.size() != 0) expect_shape(base, "base", {{"n", n}, {"D", d_out}});
  if constexpr (has_cuda)
    if (stream.device().kind == DeviceKind::cuda)
      return cuda::decode_rows(entries, W_dec, base, out, unless_zero, stream, of);
  expect_cpu(stream, "decode_rows");
  if (unless_zero.size() != 0 && unless_zero.data()[0] == 0) return;
  for_each_row(n, [&](std::size_t row) {
    const float* directions[kDirections];
    float* sum = out.data() + row * d_out;
    std::fill_n(sum, d_out, 0.0F);
    const auto [first, end] = places_of(entries, row, of);
    for (std::uint64_t j = first; j < end; j += kDirections) {
      const std::size_t some = std::min<std::size_t>(kDirections, end - j);
      for (std::size_t i = 0; i < some; ++i)
        directions[i] = W_dec.data() + entries.features.data()[j + i] * d_out;
      add_scaled_rows(directions, entries.values.data() + j, some, d_out, sum);
    }
    if (base.size() != 0) subtract(base.data() + row * d_out, sum, d_out, sum);
  });
}

void subtract_from(TensorView<const float> base, TensorView<float> sums, Stream& stream) {
  const std::size_t n = sums.axis(0), d_out = sums.axis(1);
  expect_shape(base, "base", {{"n", n}, {"D", d_out}});
  if constexpr (has_cuda)
    if (stream.device().kind == DeviceKind::cuda) return cuda::subtract_from(base, sums, stream);
  expect_cpu(stream, "subtract_from");
  parallel_for((n + kRowsPerTask - 1) / kRowsPerTask, [&](std::size_t task) {
    const std::size_t first = task * kRowsPerTask * d_out,
                      size = std::min(n - task * kRowsPerTask, kRowsPerTask) * d_out;
    subtract(base.data() + first, sums.data() + first, size, sums.data() + first);
  });
}

}  // namespace refract
