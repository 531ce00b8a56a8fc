#include "store/hdf5_handle.hpp"

#include <cerrno>
#include <cstdlib>

#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/numbers.hpp"
#include "refract/store/begin.hpp"

namespace refract {
namespace {

herr_t collect(unsigned depth, const H5E_error2_t* error, void* text) {
  // Depth 0 is the innermost call: it holds the cause; the rest only repeats who called it.
  if (depth == 0)
    *static_cast<std::string*>(text) = fmt::format("{}: {}", error->func_name, error->desc);
  return 0;
}

// HDF5 passes a system call's error on in words only: "..., errno = 28, error message = '...'".
// 0 where there was none. MPI-IO has names of its own.
int system_error_in(const std::string& text) {
  if (text.find("MPI_ERR_NO_SPACE") != std::string::npos) return ENOSPC;
  if (text.find("MPI_ERR_QUOTA") != std::string::npos) return EDQUOT;
  constexpr std::string_view kName = "errno = ";
  const std::size_t at = text.rfind(kName);
  if (at == std::string::npos) return 0;
  const std::string_view number = std::string_view(text).substr(at + kName.size());
  const auto value = parse_count(number.substr(0, number.find_first_not_of("0123456789")), 4095);
  return static_cast<int>(value.value_or(0));
}

// The file may be whole; this machine could not read it.
bool machine_failed(int error) {
  for (const int cause : {EMFILE, ENFILE, EACCES, EPERM, EIO, ESTALE, ENOMEM})
    if (error == cause) return true;
  return false;
}

H5Handle creation_properties(hid_t kind) {
  H5Handle properties(H5Pcreate(kind), H5Pclose);
  H5Pset_obj_track_times(properties.id(), false);
  // All attributes inside the object header: one layout whatever their number.
  H5Pset_attr_phase_change(properties.id(), 1024, 0);
  return properties;
}

}  // namespace

void begin_hdf5() {
  static const bool begun = [] {
    ::setenv("HDF5_USE_FILE_LOCKING", "FALSE", 1);
    // After a close that failed (disk full) the library's exit handler closes the file a second
    // time and crashes; every handle of ours is closed by its owner, so nothing is left for that
    // handler. The one in MPI_Finalize is not made where this comes before MPI (begin.hpp).
    H5dont_atexit();
    H5open();
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
    return true;
  }();
  static_cast<void>(begun);
}

std::string h5_error_text() {
  std::string text = "no further detail";
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, collect, &text);
  H5Eclear2(H5E_DEFAULT);
  for (char& character : text)
    if (character == '\n') character = ' ';
  return text;
}

hid_t h5_check(hid_t result, std::string_view doing, const fs::path& path) {
  if (result >= 0) return result;
  const std::string text = h5_error_text();
  if (const int error = system_error_in(text)) throw_file_error(doing, path, error);
  throw SystemError("HDF5 failed while {} {}: {}", doing, path.string(), text);
}

hid_t h5_check_read(hid_t result, std::string_view doing, const fs::path& path) {
  if (result >= 0) return result;
  const std::string text = h5_error_text();
  if (machine_failed(system_error_in(text)))
    throw SystemError("cannot read {}: {} failed ({})", path.string(), doing, text);
  throw_damaged(path, fmt::format("{} failed ({})", doing, text));
}

H5Handle h5_type(DType dtype) {
  switch (dtype) {
    case DType::f32: return {H5Tcopy(H5T_IEEE_F32LE), H5Tclose};
    case DType::f64: return {H5Tcopy(H5T_IEEE_F64LE), H5Tclose};
    case DType::u8: return {H5Tcopy(H5T_STD_U8LE), H5Tclose};
    case DType::u16: return {H5Tcopy(H5T_STD_U16LE), H5Tclose};
    case DType::u32: return {H5Tcopy(H5T_STD_U32LE), H5Tclose};
    case DType::u64: return {H5Tcopy(H5T_STD_U64LE), H5Tclose};
    case DType::i64: return {H5Tcopy(H5T_STD_I64LE), H5Tclose};
    case DType::bf16:
    case DType::f16: break;
  }
  // Sixteen-bit floats are described by their fields: HDF5 before 1.14.4 has no name for either,
  // and h5py shows such a dataset as the next wider float it knows.
  const bool brain = dtype == DType::bf16;
  H5Handle type(H5Tcopy(H5T_IEEE_F32LE), H5Tclose);
  H5Tset_fields(type.id(), 15, brain ? 7 : 10, brain ? 8 : 5, 0, brain ? 7 : 10);
  H5Tset_precision(type.id(), 16);
  H5Tset_size(type.id(), 2);
  H5Tset_ebias(type.id(), brain ? 127 : 15);
  return type;
}

DType h5_dtype(hid_t type, const fs::path& path) {
  for (const DType dtype : {DType::f32, DType::f64, DType::bf16, DType::f16, DType::u8, DType::u16,
                            DType::u32, DType::u64, DType::i64})
    if (H5Tequal(type, h5_type(dtype).id()) > 0) return dtype;
  throw_damaged(path, "a dataset has a number type that refract does not write");
}

H5Handle h5_file_access(std::size_t alignment_bytes) {
  begin_hdf5();
  H5Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_libver_bounds(access.id(), H5F_LIBVER_V18, H5F_LIBVER_V110);
  H5Pset_sieve_buf_size(access.id(), 0);
  constexpr hsize_t kSmallBytes = 64
                                  << 10;  // below it padding would cost more than alignment gives
  if (alignment_bytes > 0) H5Pset_alignment(access.id(), kSmallBytes, alignment_bytes);
  return access;
}

H5Handle h5_create_file(const fs::path& path, std::size_t alignment_bytes) {
  const H5Handle access = h5_file_access(alignment_bytes);
  const H5Handle creation = creation_properties(H5P_FILE_CREATE);
  return {h5_check(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, creation.id(), access.id()), "creating",
                   path),
          H5Fclose};
}

void h5_close_written(H5Handle& file, const fs::path& path) {
  if (H5Fflush(file.id(), H5F_SCOPE_GLOBAL) < 0) {
    h5_leave_open(file);
    h5_check(-1, "writing", path);
  }
  h5_check(file.reset(), "closing", path);
}

H5Handle h5_open_for_reading(const fs::path& path) {
  if (!fs::exists(path))
    throw DataError("{} is missing: run the stage that writes it, or give the path where it lies",
                    path.string());
  const H5Handle access = h5_file_access();
  return {h5_check_read(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.id()), "opening it", path),
          H5Fclose};
}

H5Handle h5_create_dataset(hid_t file, const std::string& name, DType dtype, const hsize_t* shape,
                           int rank, const fs::path& path) {
  const H5Handle creation = creation_properties(H5P_DATASET_CREATE);
  H5Pset_layout(creation.id(), H5D_CONTIGUOUS);
  H5Pset_alloc_time(creation.id(), H5D_ALLOC_TIME_EARLY);
  H5Pset_fill_time(creation.id(), H5D_FILL_TIME_NEVER);
  for (std::size_t end = name.find('/'); end != std::string::npos; end = name.find('/', end + 1)) {
    const std::string folder = name.substr(0, end);
    if (H5Lexists(file, folder.c_str(), H5P_DEFAULT) > 0) continue;
    const H5Handle group_creation = creation_properties(H5P_GROUP_CREATE);
    const H5Handle group(
        h5_check(H5Gcreate2(file, folder.c_str(), H5P_DEFAULT, group_creation.id(), H5P_DEFAULT),
                 "creating a group in", path),
        H5Gclose);
  }
  const H5Handle space(H5Screate_simple(rank, shape, nullptr), H5Sclose);
  const H5Handle type = h5_type(dtype);
  return {h5_check(H5Dcreate2(file, name.c_str(), type.id(), space.id(), H5P_DEFAULT, creation.id(),
                              H5P_DEFAULT),
                   "creating dataset " + name + " in", path),
          H5Dclose};
}

H5Handle h5_create_dataset(hid_t file, const std::string& name, DType dtype,
                           std::initializer_list<hsize_t> shape, const fs::path& path) {
  return h5_create_dataset(file, name, dtype, shape.begin(), static_cast<int>(shape.size()), path);
}

H5Handle h5_open_dataset(hid_t file, const std::string& name, const fs::path& path) {
  return {
      h5_check_read(H5Dopen2(file, name.c_str(), H5P_DEFAULT), "finding dataset /" + name, path),
      H5Dclose};
}

}  // namespace refract
