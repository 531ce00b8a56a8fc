#pragma once
// Whether this machine has room for a test that moves gigabytes; those that find none skip by name.
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

namespace refract::test {

// MemAvailable of /proc/meminfo; 0 where there is none.
inline std::uint64_t available_memory_bytes() {
  std::ifstream file("/proc/meminfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("MemAvailable:")) return std::stoull(line.substr(13)) * 1024;
  return 0;
}

inline std::uint64_t available_disk_bytes(const std::filesystem::path& folder) {
  return std::filesystem::space(folder).available;
}

// Another value for every place, so that bytes that came to the wrong one are seen.
inline std::uint8_t byte_at(std::uint64_t place) {
  return static_cast<std::uint8_t>((place * 0x9E3779B97F4A7C15u) >> 56);
}

}  // namespace refract::test
