#pragma once
// The memory of the emulated devices. Each device has a range of addresses of its own, closed to
// all code but while it is open: a host read of device memory ends the process with SIGSEGV. Every
// allocation ends at a page that faults also while the range is open (an access past the end, or
// into what was freed, is a SIGBUS), and addresses are not used twice. The few bytes between the
// end and that page (alignment is 64) are poisoned under the address sanitizer, else compared.
#include <cstddef>
#include <string>

namespace refract::emulated {

inline constexpr int kDevices = 2;
inline constexpr std::size_t kArena_bytes = std::size_t{1} << 36;  // of addresses, not of memory

[[nodiscard]] void* allocate(int device, std::size_t bytes);  // null when there is no more
[[nodiscard]] bool release(void* data);                       // false where `data` is no allocation

// The device that an address belongs to, -1 for the host's.
[[nodiscard]] int device_of(const void* address);

[[nodiscard]] std::byte* base_of(int device);
// "byte 8 of an allocation of 64 bytes", of a device's memory.
[[nodiscard]] std::string describe(const void* address);

// Opens the memory of a device while it lives; nests.
class Open {
 public:
  explicit Open(int device);  // -1: none
  ~Open();
  Open(const Open&) = delete;
  Open& operator=(const Open&) = delete;

 private:
  int device_;
};

// What was written just past the end of an allocation of the device, in words; empty where nothing
// was. The device is open.
[[nodiscard]] std::string overwritten(int device);

}  // namespace refract::emulated
