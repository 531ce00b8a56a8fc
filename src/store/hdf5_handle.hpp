#pragma once
// HDF5 identifiers that close themselves, errors as one line, and the settings every file of ours
// shares.
#include <hdf5.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

#include "refract/base/dtype.hpp"
#include "refract/base/file.hpp"

namespace refract {

namespace fs = std::filesystem;

class H5Handle {
 public:
  using Close = herr_t (*)(hid_t);
  H5Handle() = default;
  H5Handle(hid_t id, Close close) : id_(id), close_(close) {}
  ~H5Handle() { reset(); }
  H5Handle(H5Handle&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  H5Handle& operator=(H5Handle&& other) noexcept {
    std::swap(id_, other.id_);
    std::swap(close_, other.close_);
    return *this;
  }
  [[nodiscard]] hid_t id() const { return id_; }
  [[nodiscard]] bool valid() const { return id_ >= 0; }
  herr_t reset() noexcept { return id_ >= 0 ? close_(std::exchange(id_, -1)) : 0; }
  hid_t release() noexcept { return std::exchange(id_, -1); }

 private:
  hid_t id_ = -1;
  Close close_ = nullptr;
};

// The HDF5 error stack as one line; empties it.
[[nodiscard]] std::string h5_error_text();
// SystemError (of the file system's own error, where that was the cause) unless the result is good.
hid_t h5_check(hid_t result, std::string_view doing, const fs::path& path);
// The same for what is read from a finished file: Damaged.
hid_t h5_check_read(hid_t result, std::string_view doing, const fs::path& path);

[[nodiscard]] H5Handle h5_type(
    DType dtype);  // little endian, memory and file alike: HDF5 never converts
[[nodiscard]] DType h5_dtype(hid_t type,
                             const fs::path& path);  // DataError for a type that is not ours

// libver V18..V110, no sieve buffer (a write reaches the file at once); alignment in bytes, 0 for
// none.
[[nodiscard]] H5Handle h5_file_access(std::size_t alignment_bytes = 0);
[[nodiscard]] H5Handle h5_create_file(const fs::path& path, std::size_t alignment_bytes = 0);
// Flushes, then closes. Where the disk refuses, the file stays open in the library for good, as it
// must after any write that failed: HDF5 frees half of a file that it cannot write, and crashes on
// it when the program ends. Who writes calls h5_leave_open when anything failed.
void h5_close_written(H5Handle& file, const fs::path& path);
inline void h5_leave_open(H5Handle& handle) noexcept { (void)handle.release(); }
[[nodiscard]] H5Handle h5_open_for_reading(const fs::path& path);  // DataError when it cannot be
// Contiguous, allocated early, never filled, no times; folders in the name are made.
[[nodiscard]] H5Handle h5_create_dataset(hid_t file, const std::string& name, DType dtype,
                                         std::initializer_list<hsize_t> shape,
                                         const fs::path& path);
[[nodiscard]] H5Handle h5_create_dataset(hid_t file, const std::string& name, DType dtype,
                                         const hsize_t* shape, int rank, const fs::path& path);
[[nodiscard]] H5Handle h5_open_dataset(hid_t file, const std::string& name, const fs::path& path);

}  // namespace refract
