#pragma once
// The machine that this process runs on.
#include <cstdint>
#include <string>

namespace refract {

// Of this machine since it was started: one word; "-" where the system does not tell.
[[nodiscard]] std::string boot_id();

// The file of the program that this process runs; empty where the system does not tell.
[[nodiscard]] std::string this_program();

// The most memory that this process has held so far; 0 where the system does not tell.
[[nodiscard]] std::uint64_t peak_memory_bytes();

}  // namespace refract
