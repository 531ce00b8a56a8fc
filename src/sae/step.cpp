#include "refract/sae/step.hpp"

#include <algorithm>

#include "refract/ops/batch_top.hpp"

namespace refract {
namespace {

// Places of a list without a number for each row: all that there can be.
std::size_t most_entries(const StepShape& shape, const SaeShape& tile, std::size_t rows) {
  return shape.k > 0 ? rows * shape.k : rows * tile.d_sae;
}

std::size_t most_second(const StepShape& shape, const SaeShape& tile, std::size_t rows) {
  if (shape.terms() == 1) return 0;
  return shape.aux_k > 0 ? rows * shape.aux_k : rows * tile.d_sae;
}

std::size_t sums_width(const StepShape& shape, const SaeShape& tile) {
  return kErrorSum + tile.d_out * (shape.prefixes > 0 ? 2 : 1);
}

}  // namespace

bool StepShape::has_error(std::size_t which) const {
  if (which == kMainError) return true;
  if (which == kSecondError) return aux_k > 0 || second_error;
  return which - kPrefixError < prefixes;
}

std::size_t StepShape::errors() const {
  std::size_t count = 0;
  for (std::size_t i = 0; i < kMostErrors; ++i) count += has_error(i) ? 1 : 0;
  return count;
}

GradientRows Step::own_rows() const {
  GradientRows rows{
      .input = input(), .entries = {buffers.entries.view(), buffers.second.view()}, .error = {}};
  for (std::size_t i = 0; i < kMostErrors; ++i) rows.error[i] = buffers.error[i].cview();
  return rows;
}

StepBuffers::StepBuffers(const StepShape& shape, const SaeShape& tile, const StepPart& step_part,
                         bool is_centred, Stream& stream)
    : part(step_part),
      rounds(shape.rounds),
      terms(shape.terms()),
      by_magnitude(shape.by_magnitude),
      encoder(tile.d_sae, tile.d_in, stream.device(), step_part.product) {
  const Device device = stream.device();
  const std::size_t n = part.rows, slices = part.batch_rows / part.slice_rows,
                    sorted = part.gathers_rows ? part.batch_rows : n;
  if (is_centred)
    centred = Tensor<float>(Shape{n, tile.d_in}, device);
  else
    centred_target = Tensor<float>(Shape{n, tile.d_out}, device);
  entries = RowEntriesBuffer(n, shape.k, most_entries(shape, tile, n), stream);
  if (shape.candidates) candidates = RowEntriesBuffer(n, 0, n * tile.d_sae, stream);
  if (shape.terms() > 1)
    second = RowEntriesBuffer(n, shape.aux_k, most_second(shape, tile, n), stream);
  for (std::size_t term = 0; term < shape.terms(); ++term)
    by_feature[term] = FeatureEntriesBuffer(
        tile.d_sae,
        term == 0 ? most_entries(shape, tile, sorted) : most_second(shape, tile, sorted), device);
  for (std::size_t i = 0; i < kMostErrors; ++i)
    if (shape.has_error(i)) error[i] = Tensor<float>(Shape{n, tile.d_out}, device);
  if (shape.norms) norms = Tensor<float>(Shape{tile.d_sae}, device);
  if (shape.rates) {
    rates = Tensor<std::uint64_t>(Shape{tile.d_sae + 1}, device);
    rate_slopes = Tensor<float>(Shape{tile.d_sae}, device);
    rate_penalty = Tensor<double>(Shape{1}, device);
  }
  dead = Tensor<std::uint32_t>(Shape{tile.d_sae}, device);
  dead_count = Tensor<std::uint64_t>(Shape{1}, device);
  all_dead = Tensor<std::uint64_t>(Shape{1}, device);
  if (shape.histogram > 0) {
    histogram =
        Tensor<std::uint64_t>(Shape{std::max(shape.histogram, slices * part.tiles_of_row)}, device);
    bar = Tensor<std::uint64_t>(Shape{kBarValues}, device);
  }
  counts = Tensor<std::uint64_t>(Shape{tile.d_sae + 1}, device);
  slice_sums = Tensor<double>(Shape{slices, sums_width(shape, tile)}, device);
  sums = Tensor<double>(Shape{sums_width(shape, tile)}, device);
  scalars = Tensor<double>(Shape{kStepScalars}, device);
  gradients = Tensor<float>(
      Shape{part.gradient_features, GradientRow{tile.d_in, tile.d_out}.size()}, device);
  panels =
      Tensor<double>(Shape{panels_of(part.dictionary), is_centred ? 1 + tile.d_in : 1}, device);
  db_dec = Tensor<double>(Shape{tile.d_out}, device);
  for (Record& record : records) {
    record.scalars = PinnedBuffer<double>(kStepScalars, device);
    record.written = Event(device);
  }
}

std::size_t step_bytes(const StepShape& shape, const SaeShape& tile, const StepPart& part,
                       bool is_centred) {
  const std::size_t n = part.rows, slices = part.batch_rows / part.slice_rows,
                    sorted = part.gathers_rows ? part.batch_rows : n;
  constexpr std::size_t kEntry = 8;  // feature or row, and value
  std::size_t bytes = EncodeSelect::work_bytes(tile.d_sae, tile.d_in, {});
  bytes += 4 * n * (is_centred ? tile.d_in : tile.d_out);
  bytes += (most_entries(shape, tile, n) + most_entries(shape, tile, sorted)) * kEntry;
  if (shape.candidates) bytes += n * tile.d_sae * kEntry;
  bytes += (most_second(shape, tile, n) + most_second(shape, tile, sorted)) * kEntry;
  bytes += 4 * n * shape.errors() * tile.d_out;
  if (shape.norms) bytes += 4 * tile.d_sae;
  if (shape.rates) bytes += 12 * tile.d_sae;
  bytes += 8 * (slices + 1) * sums_width(shape, tile) + 8 * shape.histogram;
  bytes += 4 * part.gradient_features * GradientRow{tile.d_in, tile.d_out}.size();
  bytes += 8 * panels_of(part.dictionary) * (is_centred ? 1 + tile.d_in : 1);
  return bytes;
}

}  // namespace refract
