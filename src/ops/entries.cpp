#include "refract/ops/entries.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "ops/backend.hpp"
#include "ops/cuda_bodies.hpp"
#include "refract/base/build_info.hpp"
#include "refract/base/parallel.hpp"

namespace refract {
namespace {

// Rows of which one item counts: the work memory has a line of counts for each item.
constexpr std::size_t kMostParts = 16;

std::size_t parts_of(std::size_t rows) {
  return std::clamp<std::size_t>(rows / 64, 1,
                                 std::min<std::size_t>(kMostParts, std::max(1, thread_count())));
}

}  // namespace

RowEntriesBuffer::RowEntriesBuffer(std::size_t n, std::size_t per_row, std::size_t capacity,
                                   Stream& stream)
    : per_row_(per_row) {
  const Device device = stream.device();
  const std::size_t places = per_row > 0 ? n * per_row : capacity;
  starts_ = Tensor<std::uint64_t>(Shape{n}, device);
  counts_ = Tensor<std::uint32_t>(Shape{n}, device);
  features_ = Tensor<std::uint32_t>(Shape{places}, device);
  values_ = Tensor<float>(Shape{places}, device);
  used_ = Tensor<std::uint64_t>(Shape{1}, device);
  if (per_row == 0 || n == 0) return;
  std::vector<std::uint64_t> starts(n);
  for (std::size_t row = 0; row < n; ++row) starts[row] = row * per_row;
  copy_tensor(TensorView<const std::uint64_t>(starts.data(), Shape{n}), starts_.view(), stream);
  stream.synchronize();
}

RowEntries RowEntriesBuffer::view() const {
  return {starts_.view(), counts_.view(), features_.view(), values_.view(), used_.view(), per_row_};
}

FeatureEntriesBuffer::FeatureEntriesBuffer(std::size_t features, std::size_t capacity,
                                           Device device)
    : starts_(Shape{features + 1}, device),
      rows_(Shape{capacity}, device),
      work_(Shape{(device.kind == DeviceKind::cpu ? kMostParts : 1) * features}, device),
      values_(Shape{capacity}, device),
      slopes_(Shape{device.kind == DeviceKind::cuda ? capacity : 0}, device) {}

void sort_by_feature(const RowEntries& from, const FeatureEntriesBuffer& to, Stream& stream) {
  if constexpr (has_cuda)
    if (stream.device().kind == DeviceKind::cuda) return cuda::sort_by_feature(from, to, stream);
  expect_cpu(stream, "sort_by_feature");
  const FeatureEntries out = to.view();
  const std::size_t n = from.rows(), features = out.starts.size() - 1, parts = parts_of(n);
  std::uint32_t* const counts =
      to.work().data();  // [parts, F], then where the part's next one goes
  std::uint64_t* const starts = out.starts.data();
  const auto rows_of = [&](std::size_t part, auto&& use) {
    for (std::size_t row = part * n / parts; row < (part + 1) * n / parts; ++row) {
      const std::uint64_t first = from.starts.data()[row];
      for (std::uint64_t j = first; j < first + from.counts.data()[row]; ++j) use(row, j);
    }
  };
  parallel_for(parts, [&](std::size_t part) {
    std::uint32_t* own = counts + part * features;
    std::fill_n(own, features, 0U);
    rows_of(part, [&](std::size_t, std::uint64_t j) { ++own[from.features.data()[j]]; });
  });
  std::uint64_t at = 0;
  for (std::size_t f = 0; f < features; ++f) {
    starts[f] = at;
    std::uint32_t before = 0;
    for (std::size_t part = 0; part < parts; ++part) {
      std::uint32_t& count = counts[part * features + f];
      at += count;
      before += std::exchange(count, before);
    }
  }
  starts[features] = at;
  parallel_for(parts, [&](std::size_t part) {
    std::uint32_t* own = counts + part * features;
    rows_of(part, [&](std::size_t row, std::uint64_t j) {
      const std::uint32_t f = from.features.data()[j];
      const std::uint64_t place = starts[f] + own[f]++;
      out.rows.data()[place] = static_cast<std::uint32_t>(row);
      out.values.data()[place] = from.values.data()[j];
    });
  });
}

void count_entries(const RowEntries& entries, TensorView<const std::uint8_t> included,
                   TensorView<std::uint64_t> counts, Stream& stream) {
  expect_shape(included, "included", {{"n", entries.rows()}});
  if constexpr (has_cuda)
    if (stream.device().kind == DeviceKind::cuda)
      return cuda::count_entries(entries, included, counts, stream);
  expect_cpu(stream, "count_entries");
  const std::size_t features = counts.size() - 1;
  std::uint64_t* to = counts.data();
  std::fill_n(to, features + 1, std::uint64_t{0});
  for (std::size_t row = 0; row < entries.rows(); ++row) {
    to[features] += included.data()[row] != 0 ? 1 : 0;
    const std::uint64_t first = entries.starts.data()[row];
    for (std::uint64_t j = first; j < first + entries.counts.data()[row]; ++j)
      ++to[entries.features.data()[j]];
  }
}

}  // namespace refract
