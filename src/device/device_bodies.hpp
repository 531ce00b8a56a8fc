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
[[nodiscard]] std::byte* allocate_pinned(std::size_t bytes, int device);
void release_pinned(std::byte* data, int device);
[[nodiscard]] void* create_event(int device);
void destroy_event(int device, void* event);
void record_event(int device, void* event, void* stream);
void synchronize_event(int device, void* event);
void hold_stream(int device, void* stream, void* event);
void copy(std::byte* to, const std::byte* from, std::size_t bytes, int device, void* stream);

}  // namespace refract::cuda
