#pragma once
// The safetensors format: u64 header length (little endian), JSON header, tensor bytes. Reading is
// strict: a hole, an overlap, a size that disagrees with shape and dtype, a truncated or longer
// file is a DataError.
#include <cstddef>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "refract/base/dtype.hpp"
#include "refract/base/file.hpp"
#include "refract/base/written_file.hpp"

namespace refract {

// A named tensor that borrows its bytes: from the mapped file when read, from the caller when
// written.
struct StoredTensor {
  std::string name;
  std::string dtype;               // the format's own word: "F32", "BF16", "F16", "U64", ...
  std::vector<std::size_t> shape;  // row-major; empty for a scalar
  std::span<const std::byte> bytes;
};

// One file, mapped read-only. Tensors borrow from it, so it must outlive them.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] const std::vector<StoredTensor>& tensors() const {
    return tensors_;
  }  // in name order
  [[nodiscard]] const std::map<std::string, std::string>& metadata() const { return metadata_; }
  [[nodiscard]] const StoredTensor* find(std::string_view name) const;  // null when absent
  [[nodiscard]] const StoredTensor& at(std::string_view name) const;    // DataError when absent
  // `at`, and a DataError that names both shapes when the stored one differs.
  [[nodiscard]] const StoredTensor& at(std::string_view name,
                                       const std::vector<std::size_t>& shape) const;

 private:
  std::filesystem::path path_;
  MappedFile file_;
  std::vector<StoredTensor> tensors_;
  std::map<std::string, std::string> metadata_;
};

[[nodiscard]] std::size_t element_count(const StoredTensor& tensor);
// DataError for a dtype that read_f32 does not read.
void expect_f32_readable(const StoredTensor& tensor);
// F32, BF16, F16 or F64 values as fp32, in storage order; DataError for any other dtype.
void read_f32(const StoredTensor& tensor,
              std::span<float> to);  // to has element_count(tensor) elements
[[nodiscard]] std::vector<float> read_f32(const StoredTensor& tensor);
// U64 values (counters); DataError for any other dtype.
[[nodiscard]] std::vector<std::uint64_t> read_u64(const StoredTensor& tensor);

[[nodiscard]] std::string_view safetensors_word(DType dtype);  // "F32", ...

template <typename T>
[[nodiscard]] StoredTensor stored_tensor(std::string name, DType dtype,
                                         std::vector<std::size_t> shape,
                                         std::span<const T> values) {
  return {std::move(name), std::string(safetensors_word(dtype)), std::move(shape),
          std::as_bytes(values)};
}

// A tensor of a file that is yet to be written.
struct TensorEntry {
  std::string name;
  std::string dtype;  // as in StoredTensor
  std::vector<std::size_t> shape;
};

// Where each byte of a file will be, before there is any: a function of the arguments. Tensors lie
// by element size (large first), then by name; names must be unique.
class SafetensorsLayout {
 public:
  explicit SafetensorsLayout(std::span<const TensorEntry> tensors,
                             const std::map<std::string, std::string>& metadata = {});
  struct Place {
    std::uint64_t offset = 0, bytes = 0;  // in the file
  };
  [[nodiscard]] const std::string& header() const { return header_; }  // with its length
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  [[nodiscard]] const Place& at(std::string_view tensor) const;

 private:
  std::string header_;
  std::uint64_t bytes_ = 0;
  std::map<std::string, Place, std::less<>> places_;
};

// One of the writers of a file, or its only one. Unsynced, under `path` itself (written_file.hpp).
class SafetensorsWriter {
 public:
  // Who creates it writes its header.
  SafetensorsWriter(const std::filesystem::path& path, SafetensorsLayout layout,
                    FileWriter::Begin begin = FileWriter::Begin::create);
  // Offsets count from the tensor's first byte.
  void write(std::string_view tensor, std::uint64_t offset, std::span<const std::byte> bytes);
  void write_rows(std::string_view tensor, std::uint64_t offset, std::uint64_t row_bytes,
                  std::uint64_t stride, std::span<const std::byte> bytes);
  [[nodiscard]] WrittenFile close() { return file_.close(); }

 private:
  SafetensorsLayout layout_;
  FileWriter file_;
};

// A whole file: under a temporary name, synced, renamed. Sizes must fit shapes.
void write_safetensors(const std::filesystem::path& path, std::span<const StoredTensor> tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace refract
