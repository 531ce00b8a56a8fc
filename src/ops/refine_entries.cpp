#include "refract/ops/refine_entries.hpp"

#include <algorithm>

#include "ops/backend.hpp"
#include "ops/cuda_bodies.hpp"
#include "ops/refined_value.hpp"
#include "ops/workers.hpp"
#include "refract/base/build_info.hpp"
#include "refract/base/error.hpp"

namespace refract {

void refine_entries(const RowEntries& from, const Refinement& by, const RowEntries& to,
                    Stream& stream) {
  const std::size_t n = from.rows();
  expect_shape(to.counts, "counts", {{"n", n}});
  REFRACT_ASSERT(to.per_row == 0 && to.values.size() >= from.values.size(), "{} places for {}",
                 to.values.size(), from.values.size());
  if constexpr (has_cuda)
    if (stream.device().kind == DeviceKind::cuda) return cuda::refine_entries(from, by, to, stream);
  expect_cpu(stream, "refine_entries");
  const RefinementPointers rule = pointers_of(by);
  for_each_row(n, [&](std::size_t row) {
    const std::uint64_t first = from.starts.data()[row];
    std::uint32_t kept = 0;
    for (std::uint64_t j = first; j < first + from.counts.data()[row]; ++j) {
      const std::uint32_t f = from.features.data()[j];
      float value = from.values.data()[j];
      if (!refine(rule, f, value)) continue;
      to.features.data()[first + kept] = f;
      to.values.data()[first + kept++] = value;
    }
    to.starts.data()[row] = first;
    to.counts.data()[row] = kept;
  });
  to.used.data()[0] = from.used.data()[0];
}

}  // namespace refract
