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

// A tensor whose bytes are made while they are written, so that no copy of it is needed.
struct StreamedTensor {
  std::string name;
  std::string dtype;  // as in StoredTensor
  std::vector<std::size_t> shape;
  std::function<void(FileWriter&)> write;  // all its bytes, in order
};

// Bytes are a function of the arguments: data is laid out by element size (large first), then name;
// names must be unique and sizes must fit shapes. Unsynced, under `path` itself (written_file.hpp).
[[nodiscard]] WrittenFile stream_safetensors(
    const std::filesystem::path& path, std::span<const StreamedTensor> tensors,
    const std::map<std::string, std::string>& metadata = {},
    FileWriter::Digest digest = FileWriter::Digest::none);
[[nodiscard]] StreamedTensor streamed(const StoredTensor& tensor);

// The same as a whole file: under a temporary name, synced, renamed.
void write_safetensors(const std::filesystem::path& path, std::span<const StoredTensor> tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace refract
