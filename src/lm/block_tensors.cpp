#include "lm/block_tensors.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "refract/base/error.hpp"

namespace refract {

BlockTensors::BlockTensors(const ModelWeights& weights, const ModelInfo& info, std::string prefix,
                           std::vector<std::string> skipped)
    : weights_(weights), info_(info), prefix_(std::move(prefix)), skipped_(std::move(skipped)) {}

void BlockTensors::add_gain(std::string_view name, std::size_t width) {
  in_block_.emplace_back(fmt::format("{}.weight", name), Shape{width});
}

void BlockTensors::add_norm(std::string_view name, std::size_t width) {
  add_gain(name, width);
  in_block_.emplace_back(fmt::format("{}.bias", name), Shape{width});
}

void BlockTensors::add_linear(std::string_view name, std::size_t out, std::size_t in,
                              bool has_bias) {
  in_block_.emplace_back(fmt::format("{}.weight", name), Shape{out, in});
  if (has_bias) in_block_.emplace_back(fmt::format("{}.bias", name), Shape{out});
}

void BlockTensors::add_conv1d(std::string_view name, std::size_t in, std::size_t out) {
  in_block_.emplace_back(fmt::format("{}.weight", name), Shape{in, out});
  in_block_.emplace_back(fmt::format("{}.bias", name), Shape{out});
}

void BlockTensors::add_beside(std::string name, Shape shape) {
  beside_.emplace_back(std::move(name), shape);
}

void BlockTensors::check() const {
  for (const auto& [name, shape] : beside_) weights_.expect(name, shape);
  for (std::size_t layer = 0; layer < info_.layers; ++layer)
    for (const auto& [name, shape] : in_block_)
      weights_.expect(fmt::format("{}{}.{}", prefix_, layer, name), shape);
  refuse_unknown();
}

void BlockTensors::refuse_unknown() const {
  for (const std::string_view name : weights_.names()) {
    if (!name.starts_with(prefix_)) continue;
    const std::string_view rest = name.substr(prefix_.size());
    std::size_t layer = 0;
    const auto parsed = std::from_chars(rest.data(), rest.data() + rest.size(), layer);
    const std::string_view part =
        rest.substr(std::min(rest.size(), static_cast<std::size_t>(parsed.ptr - rest.data()) + 1));
    const bool known = std::ranges::find(skipped_, part) != skipped_.end() ||
                       std::ranges::find(in_block_, part, &Listed::first) != in_block_.end();
    if (parsed.ec == std::errc{} && layer < info_.layers && known) continue;
    throw DataError(
        "tensor '{}' is not part of a {} model of {} layers. config.json belongs to other weights, "
        "or the architecture is another one: fetch the model again.",
        name, info_.family, info_.layers);
  }
}

Tensor<float> BlockTensors::read_listed(const std::vector<Listed>& list, std::string_view prefix,
                                        std::string_view name) const {
  const auto found = std::ranges::find(list, name, &Listed::first);
  REFRACT_ASSERT(found != list.end(), "tensor {} is not listed", name);
  return weights_.read(fmt::format("{}{}", prefix, name), found->second);
}

Tensor<float> BlockTensors::read(std::size_t layer, std::string_view name) const {
  return read_listed(in_block_, fmt::format("{}{}.", prefix_, layer), name);
}

Tensor<float> BlockTensors::read_beside(std::string_view name) const {
  return read_listed(beside_, "", name);
}

LayerNorm BlockTensors::norm(std::size_t layer, std::string_view name) const {
  return {read(layer, fmt::format("{}.weight", name)), read(layer, fmt::format("{}.bias", name))};
}

bool BlockTensors::has_bias(const std::string& name) const {
  return std::ranges::find(in_block_, name + ".bias", &Listed::first) != in_block_.end();
}

PackedMatrix BlockTensors::stacked(std::size_t layer, const std::vector<std::string>& names) const {
  std::vector<float> weights, biases;
  std::size_t rows = 0, columns = 0;
  for (const std::string& name : names) {
    const Tensor<float> weight = read(layer, name + ".weight");
    rows += weight.axis(0);
    columns = weight.axis(1);
    weights.insert(weights.end(), weight.span().begin(), weight.span().end());
    if (!has_bias(name)) continue;
    const Tensor<float> bias = read(layer, name + ".bias");
    biases.insert(biases.end(), bias.span().begin(), bias.span().end());
  }
  REFRACT_ASSERT(biases.empty() || biases.size() == rows, "some of {} have no bias", names.front());
  Stream stream;
  const TensorView<const float> W(weights.data(), {rows, columns});
  return {
      W,
      biases.empty() ? TensorView<const float>{} : TensorView<const float>(biases.data(), {rows}),
      stream};
}

PackedMatrix BlockTensors::conv1d(std::size_t layer, std::string_view name) const {
  const std::string weight = fmt::format("{}.weight", name);
  const auto listed = std::ranges::find(in_block_, weight, &Listed::first);
  REFRACT_ASSERT(listed != in_block_.end(), "tensor {} is not listed", weight);
  const Tensor<float> turned = weights_.read_transposed(
      fmt::format("{}{}.{}", prefix_, layer, weight), listed->second[0], listed->second[1]);
  Stream stream;
  return {turned.cview(), read(layer, fmt::format("{}.bias", name)).cview(), stream};
}

PackedMatrix BlockTensors::head(const Tensor<float>* table, std::string_view name) const {
  Stream stream;
  if (table != nullptr) return {table->cview(), {}, stream};
  return {read_beside(name).cview(), {}, stream};
}

std::string table_or_head(const ModelWeights& weights, const std::string& table,
                          const std::string& head, bool tied) {
  return tied && !weights.contains(table) && weights.contains(head) ? head : table;
}

}  // namespace refract
