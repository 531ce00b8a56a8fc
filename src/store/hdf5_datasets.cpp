#include "store/hdf5_datasets.hpp"

#include <algorithm>

#include "refract/base/activity.hpp"

#include "store/hdf5_attributes.hpp"

namespace refract {
namespace {

herr_t collect_dataset_name(hid_t, const char* name, const H5O_info_t* info, void* names) {
  if (info->type == H5O_TYPE_DATASET)
    static_cast<std::vector<std::string>*>(names)->emplace_back(name);
  return 0;
}

// HDF5 1.10 fails on independent transfers from 2 GiB on.
constexpr std::uint64_t kTransferBytes = 512 << 20;

struct Transfer {
  std::uint64_t row, rows, byte;
};
// use(Transfer) for `rows` rows of `bytes` bytes together.
template <typename Use>
void for_each_transfer(std::uint64_t rows, std::uint64_t bytes, Use&& use) {
  if (bytes == 0) return;
  const std::uint64_t row_bytes = bytes / rows;
  const std::uint64_t at_a_time = std::max<std::uint64_t>(1, kTransferBytes / row_bytes);
  for (std::uint64_t row = 0; row < rows; row += at_a_time) {
    use(Transfer{row, std::min(at_a_time, rows - row), row * row_bytes});
    tick();
  }
}

}  // namespace

std::vector<std::uint64_t> shape_of(hid_t dataset) {
  const H5Handle space(H5Dget_space(dataset), H5Sclose);
  std::vector<hsize_t> axes(
      static_cast<std::size_t>(std::max(H5Sget_simple_extent_ndims(space.id()), 0)));
  H5Sget_simple_extent_dims(space.id(), axes.data(), nullptr);
  return {axes.begin(), axes.end()};
}

std::vector<StoredColumn> list_datasets(hid_t file, const fs::path& path) {
  std::vector<std::string> names;
  h5_check_read(
      H5Ovisit2(file, H5_INDEX_NAME, H5_ITER_INC, collect_dataset_name, &names, H5O_INFO_BASIC),
      "listing datasets", path);
  std::sort(names.begin(), names.end());
  std::vector<StoredColumn> all;
  for (const std::string& name : names) {
    const H5Handle dataset = h5_open_dataset(file, name, path);
    const H5Handle type(H5Dget_type(dataset.id()), H5Tclose);
    const Attributes attributes = read_attributes(dataset.id(), path);
    const ColumnInfo info{name, h5_dtype(type.id(), path), shape_of(dataset.id()),
                          text_of(attributes, "axes", path)};
    if (info.shape.empty()) throw_damaged(path, "dataset /" + name + " has no axis");
    const bool empty = std::ranges::find(info.shape, 0u) != info.shape.end();
    const haddr_t offset = H5Dget_offset(dataset.id());
    if (offset == HADDR_UNDEF && !empty)
      throw_damaged(path, "dataset /" + name + " is not contiguous");
    all.push_back({info, empty ? 0 : offset});
  }
  return all;
}

RowSelection select_rows(hid_t dataset, std::uint64_t first, std::uint64_t count) {
  const std::vector<std::uint64_t> shape = shape_of(dataset);
  std::vector<hsize_t> start(shape.size(), 0), extent(shape.begin(), shape.end());
  start[0] = first;
  extent[0] = count;
  RowSelection rows{
      {H5Screate_simple(static_cast<int>(extent.size()), extent.data(), nullptr), H5Sclose},
      {H5Dget_space(dataset), H5Sclose}};
  H5Sselect_hyperslab(rows.file.id(), H5S_SELECT_SET, start.data(), nullptr, extent.data(),
                      nullptr);
  return rows;
}

void write_dataset_rows(hid_t dataset, DType dtype, std::uint64_t first, std::uint64_t count,
                        std::span<const std::byte> from, const fs::path& path) {
  const H5Handle type = h5_type(dtype);
  for_each_transfer(count, from.size(), [&](const Transfer& t) {
    const RowSelection rows = select_rows(dataset, first + t.row, t.rows);
    h5_check(H5Dwrite(dataset, type.id(), rows.memory.id(), rows.file.id(), H5P_DEFAULT,
                      from.data() + t.byte),
             "writing rows of", path);
  });
}

}  // namespace refract
