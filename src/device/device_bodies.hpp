#pragma once
// The CUDA twins of the device room, called only where has_cuda holds.
#include <cstddef>

namespace refract::cuda {

[[nodiscard]] int device_count();
[[nodiscard]] void* create_stream(int device);
void destroy_stream(int device, void* stream);
void synchronize(int device, void* stream);
[[nodiscard]] std::byte* allocate(std::size_t bytes, int device);
void release(std::byte* data, int device);
void copy(std::byte* to, const std::byte* from, std::size_t bytes, int device, void* stream);

}  // namespace refract::cuda
