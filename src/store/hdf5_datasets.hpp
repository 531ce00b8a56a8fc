#pragma once
// Listing and slicing the datasets of one of our files.
#include <cstddef>
#include <span>
#include <vector>

#include "refract/store/table_file.hpp"
#include "store/hdf5_handle.hpp"

namespace refract {

[[nodiscard]] std::vector<ColumnInfo> list_datasets(hid_t file,
                                                    const fs::path& path);  // in name order
[[nodiscard]] std::vector<std::uint64_t> shape_of(hid_t dataset);

struct RowSelection {
  H5Handle memory, file;  // dataspaces: [count, ...] and rows [first, first + count) of the dataset
};
[[nodiscard]] RowSelection select_rows(hid_t dataset, std::uint64_t first, std::uint64_t count);
// Rows [first, first + count), whose bytes are `to` or `from`, in transfers of less than what HDF5
// can do at once, with a tick() each.
void read_dataset_rows(hid_t dataset, const ColumnInfo& column, std::uint64_t first,
                       std::uint64_t count, std::span<std::byte> to, const fs::path& path);
void write_dataset_rows(hid_t dataset, DType dtype, std::uint64_t first, std::uint64_t count,
                        std::span<const std::byte> from, const fs::path& path);

}  // namespace refract
