#pragma once
// Listing and slicing the datasets of one of our files.
#include <cstdint>
#include <span>
#include <vector>

#include "refract/store/table_file.hpp"
#include "store/hdf5_handle.hpp"

namespace refract {

struct StoredColumn {
  ColumnInfo info;
  std::uint64_t offset = 0;  // of its first byte in the file
};
// In name order. Damaged when one is not contiguous or has no axis.
[[nodiscard]] std::vector<StoredColumn> list_datasets(hid_t file, const fs::path& path);
[[nodiscard]] std::vector<std::uint64_t> shape_of(hid_t dataset);

struct RowSelection {
  H5Handle memory, file;  // dataspaces: [count, ...] and rows [first, first + count) of the dataset
};
[[nodiscard]] RowSelection select_rows(hid_t dataset, std::uint64_t first, std::uint64_t count);
// Rows [first, first + count), whose bytes are `from`, in transfers of less than what HDF5 can do
// at once, with a tick() each. (They are read by pread.)
void write_dataset_rows(hid_t dataset, DType dtype, std::uint64_t first, std::uint64_t count,
                        std::span<const std::byte> from, const fs::path& path);

}  // namespace refract
