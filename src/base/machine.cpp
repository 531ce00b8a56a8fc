#include "refract/base/machine.hpp"

#include <sys/resource.h>

#include <filesystem>
#include <fstream>
#include <system_error>

namespace refract {

std::string boot_id() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  return file >> id ? id : "-";
}

std::string this_program() {
  std::error_code none;
  return std::filesystem::read_symlink("/proc/self/exe", none).string();
}

std::uint64_t peak_memory_bytes() {
  rusage usage{};
  constexpr std::uint64_t kKiB = 1024;  // Linux counts in these
  return ::getrusage(RUSAGE_SELF, &usage) == 0 ? static_cast<std::uint64_t>(usage.ru_maxrss) * kKiB
                                               : 0;
}

}  // namespace refract
