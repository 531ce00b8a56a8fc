#pragma once
#include <mpi.h>

#include <string>

#include "refract/base/error.hpp"

namespace refract {

inline void check(int code, const char* doing) {
  if (code == MPI_SUCCESS) return;
  std::string text(MPI_MAX_ERROR_STRING, '\0');
  int size = 0;
  MPI_Error_string(code, text.data(), &size);
  text.resize(static_cast<std::size_t>(size));
  throw SystemError("MPI failed in {}: {}", doing, text);
}

}  // namespace refract
