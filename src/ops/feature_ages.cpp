#include "refract/ops/feature_ages.hpp"

#include "ops/backend.hpp"
#include "ops/cuda_bodies.hpp"
#include "refract/base/build_info.hpp"
#include "refract/ops/step_sums.hpp"

namespace refract {

void update_ages(TensorView<const std::uint64_t> counts, bool first_pass,
                 TensorView<std::uint64_t> age, Stream& stream) {
  const std::size_t features = age.size();
  expect_shape(counts, "counts", {{"F + 1", features + 1}});
  if constexpr (has_cuda)
    if (stream.device().kind == DeviceKind::cuda)
      return cuda::update_ages(counts, first_pass, age, stream);
  expect_cpu(stream, "update_ages");
  const std::uint64_t rows = first_pass ? counts.data()[features] : 0;
  for (std::size_t f = 0; f < features; ++f)
    age.data()[f] = counts.data()[f] != 0 ? 0 : age.data()[f] + rows;
}

void list_dead(TensorView<const std::uint64_t> age, std::uint64_t dead_after,
               const DeadFeatures& dead, Stream& stream) {
  expect_shape(dead.features, "dead", {{"F", age.size()}});
  if constexpr (has_cuda)
    if (stream.device().kind == DeviceKind::cuda)
      return cuda::list_dead(age, dead_after, dead, stream);
  expect_cpu(stream, "list_dead");
  std::uint64_t count = 0;
  for (std::size_t f = 0; f < age.size(); ++f)
    if (age.data()[f] >= dead_after) dead.features.data()[count++] = static_cast<std::uint32_t>(f);
  dead.count.data()[0] = count;
}

void note_dead(TensorView<const std::uint64_t> count, TensorView<double> scalars, Stream& stream) {
  expect_shape(scalars, "scalars", {{"scalars", kStepScalars}});
  if constexpr (has_cuda)
    if (stream.device().kind == DeviceKind::cuda) return cuda::note_dead(count, scalars, stream);
  expect_cpu(stream, "note_dead");
  scalars.data()[kDead] = static_cast<double>(count.data()[0]);
}

}  // namespace refract
