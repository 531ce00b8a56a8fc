#include "refract/device/device.hpp"

#include <sys/mman.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "device/device_bodies.hpp"
#include "refract/base/build_info.hpp"
#include "refract/base/error.hpp"
#include "refract/device/cuda_launch.hpp"

namespace refract {
namespace {

constexpr std::size_t kAlignment = 64;

[[noreturn]] void no_cuda() {
  throw NotBuilt("this build has no CUDA: configure with -DREFRACT_CUDA=ON where nvcc is found");
}

// From here on the system gives zero pages, one by one when they are written: room for the worst
// case costs nothing until it comes.
constexpr std::size_t kPaged_bytes = std::size_t{4} << 20;

std::byte* allocate_host(std::size_t bytes) {
  void* data = nullptr;
  if (bytes >= kPaged_bytes) {
    data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                -1, 0);
    if (data == MAP_FAILED) data = nullptr;
  } else {
    data = std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
    if (data) std::memset(data, 0, bytes);
  }
  if (!data)
    throw SystemError("not enough memory for {} bytes: lower train.cache_bytes or store.chunk_rows",
                      bytes);
  return static_cast<std::byte*>(data);
}

void release_host(std::byte* data, std::size_t bytes) {
  if (bytes >= kPaged_bytes)
    munmap(data, bytes);
  else
    std::free(data);
}

// Counted for the whole process, as memory is the process's.
std::atomic<std::uint64_t> allocations{0}, copies_to_host{0};

}  // namespace

std::string text(Device device) {
  return device.kind == DeviceKind::cpu ? "the CPU" : fmt::format("CUDA device {}", device.index);
}

void cuda::throw_cuda_error(const char* doing, int device, const char* text) {
  throw SystemError("CUDA device {}: {}: {}", device, doing, text);
}

int cuda_device_count() {
  if constexpr (has_cuda)
    return cuda::device_count();
  else
    return 0;
}

Stream::Stream(Device device) : device_(device) {
  if (device.kind == DeviceKind::cpu) return;
  if constexpr (has_cuda)
    native_ = cuda::create_stream(device.index);
  else
    no_cuda();
}
Stream::~Stream() {
  if constexpr (has_cuda)
    if (native_) cuda::destroy_stream(device_.index, native_);
}
Stream::Stream(Stream&& other) noexcept
    : device_(other.device_), native_(std::exchange(other.native_, nullptr)) {}
Stream& Stream::operator=(Stream&& other) noexcept {
  std::swap(device_, other.device_);
  std::swap(native_, other.native_);
  return *this;
}
void Stream::synchronize() {
  if constexpr (has_cuda)
    if (native_) cuda::synchronize(device_.index, native_);
}

DeviceActivity device_activity() { return {allocations.load(), copies_to_host.load()}; }

Event::Event(Device device) : device_(device) {
  if (device.kind == DeviceKind::cpu) return;
  if constexpr (has_cuda)
    native_ = cuda::create_event(device.index);
  else
    no_cuda();
}
Event::~Event() {
  if constexpr (has_cuda)
    if (native_) cuda::destroy_event(device_.index, native_);
}
Event::Event(Event&& other) noexcept
    : device_(other.device_), native_(std::exchange(other.native_, nullptr)) {}
Event& Event::operator=(Event&& other) noexcept {
  std::swap(device_, other.device_);
  std::swap(native_, other.native_);
  return *this;
}
void Event::record(Stream& stream) {
  if constexpr (has_cuda)
    if (native_) cuda::record_event(device_.index, native_, stream.native());
}
void Event::synchronize() {
  if constexpr (has_cuda)
    if (native_) cuda::synchronize_event(device_.index, native_);
}
void Event::hold(Stream& stream) {
  if constexpr (has_cuda)
    if (native_) cuda::hold_stream(stream.device().index, stream.native(), native_);
}

RawBuffer::RawBuffer(std::size_t bytes, Device device, Memory memory)
    : bytes_(bytes), device_(device), memory_(memory) {
  if (bytes == 0) return;
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (device.kind == DeviceKind::cpu) {
    data_ = allocate_host(bytes);
  } else {
    if constexpr (has_cuda)
      data_ = memory == Memory::pinned ? cuda::allocate_pinned(bytes, device.index)
                                       : cuda::allocate(bytes, device.index);
    else
      no_cuda();
  }
}
RawBuffer::~RawBuffer() {
  if (!data_) return;
  if (device_.kind == DeviceKind::cpu)
    release_host(data_, bytes_);
  else if constexpr (has_cuda)
    memory_ == Memory::pinned ? cuda::release_pinned(data_, device_.index)
                              : cuda::release(data_, device_.index);
}
RawBuffer::RawBuffer(RawBuffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)),
      device_(other.device_),
      memory_(other.memory_) {}
RawBuffer& RawBuffer::operator=(RawBuffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(device_, other.device_);
  std::swap(memory_, other.memory_);
  return *this;
}

void copy_bytes(std::byte* to, Device to_device, const std::byte* from, Device from_device,
                std::size_t bytes, Stream& stream) {
  if (to_device.kind == DeviceKind::cpu && from_device.kind == DeviceKind::cpu) {
    if (bytes != 0) std::memcpy(to, from, bytes);
    return;
  }
  // A CPU stream's native handle is null, which CUDA takes for its default stream; and that one
  // waits for no Stream, so the copy would run beside the work whose result it copies.
  if (stream.device().kind == DeviceKind::cpu ||
      (stream.device() != to_device && stream.device() != from_device))
    throw SystemError(
        "a copy from {} to {} was queued on a stream of {}: it must be a stream of the CUDA device",
        text(from_device), text(to_device), text(stream.device()));
  if (bytes == 0) return;
  if (to_device.kind == DeviceKind::cpu) copies_to_host.fetch_add(1, std::memory_order_relaxed);
  if constexpr (has_cuda)
    cuda::copy(to, from, bytes, stream.device().index, stream.native());
  else
    no_cuda();
}

}  // namespace refract
