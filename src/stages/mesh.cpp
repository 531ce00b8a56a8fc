#include "refract/stages/mesh.hpp"

#include <algorithm>

#include "refract/base/error.hpp"
#include "refract/ops/feature_gradients.hpp"

namespace refract {

FeatureRange features_of_part(FeatureRange range, std::size_t part, std::size_t parts) {
  const Share share =
      share_of(panels_of(range.count), static_cast<int>(part), static_cast<int>(parts));
  const auto end_of = [&](std::size_t panel) {
    return std::min(range.count, panel * kPanelFeatures);
  };
  const std::size_t first = end_of(share.first);
  return {range.first + first, end_of(share.first + share.count) - first};
}

std::vector<std::size_t> feature_counts(FeatureRange range, std::size_t parts, std::size_t width) {
  std::vector<std::size_t> counts;
  for (std::size_t part = 0; part < parts; ++part)
    counts.push_back(features_of_part(range, part, parts).count * width);
  return counts;
}

Mesh Mesh::collective_make(Communicator& ranks, const MeshShape& shape, Device device, Wire wire) {
  const auto size = static_cast<std::size_t>(ranks.size());
  if (shape.rows * shape.features != size)
    throw SystemError("a mesh of {} x {} has no place for {} ranks", shape.rows, shape.features,
                      size);
  Mesh mesh;
  mesh.shape_ = shape;
  mesh.row_ = static_cast<std::size_t>(ranks.rank()) / shape.features;
  mesh.column_ = static_cast<std::size_t>(ranks.rank()) % shape.features;
  mesh.device_ = device;
  mesh.ranks_ = &ranks;
  mesh.row_ranks_ =
      std::make_unique<Communicator>(ranks.split(static_cast<int>(mesh.row_), ranks.rank()));
  mesh.column_ranks_ =
      std::make_unique<Communicator>(ranks.split(static_cast<int>(mesh.column_), ranks.rank()));
  mesh.all_ = make_exchange(ranks, device, Wire::fp32);
  mesh.along_row_ = make_exchange(*mesh.row_ranks_, device, Wire::fp32);
  mesh.along_column_ = make_exchange(*mesh.column_ranks_, device, wire);
  return mesh;
}

FeatureRange Mesh::tile_of(std::size_t d_sae) const {
  return features_of_part({0, d_sae}, column_, shape_.features);
}

FeatureRange Mesh::own_of(std::size_t d_sae, bool sharded) const {
  const FeatureRange tile = tile_of(d_sae);
  return sharded ? features_of_part(tile, row_, shape_.rows) : tile;
}

Share Mesh::read_of(std::size_t blocks) const {
  return share_of(blocks, ranks_->rank(), ranks_->size());
}

Share Mesh::rows_of(std::size_t row, std::size_t blocks) const {
  const auto share = [&](std::size_t rank) {
    return share_of(blocks, static_cast<int>(rank), ranks_->size());
  };
  const Share first = share(row * shape_.features), last = share((row + 1) * shape_.features - 1);
  return {first.first, last.first + last.count - first.first};
}

std::vector<std::size_t> Mesh::parts_of_row(std::size_t blocks, std::size_t width) const {
  std::vector<std::size_t> counts;
  for (std::size_t column = 0; column < shape_.features; ++column)
    counts.push_back(
        share_of(blocks, static_cast<int>(row_ * shape_.features + column), ranks_->size()).count *
        width);
  return counts;
}

std::vector<std::size_t> Mesh::slices_of_rows(std::size_t blocks, std::size_t width) const {
  std::vector<std::size_t> counts;
  for (std::size_t row = 0; row < shape_.rows; ++row)
    counts.push_back(rows_of(row, blocks).count * width);
  return counts;
}

}  // namespace refract
