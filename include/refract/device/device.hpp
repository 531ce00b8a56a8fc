#pragma once
// Where memory lives and where work is queued. The CPU is a first-class device: its Stream runs
// work at once.
#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace refract {

enum class DeviceKind { cpu, cuda };

struct Device {
  DeviceKind kind = DeviceKind::cpu;
  int index = 0;
  friend bool operator==(const Device&, const Device&) = default;
};

[[nodiscard]] std::string text(Device device);  // "the CPU", "CUDA device 0"

[[nodiscard]] int cuda_device_count();  // 0 without a driver, a device or a CUDA build

// An ordered queue of work on one device. Functions that take a Stream& enqueue and return.
class Stream {
 public:
  explicit Stream(Device device = {});
  ~Stream();
  Stream(Stream&& other) noexcept;
  Stream& operator=(Stream&& other) noexcept;
  [[nodiscard]] Device device() const { return device_; }
  void synchronize();  // returns when all queued work has finished
  [[nodiscard]] void* native() const { return native_; }  // cudaStream_t on CUDA, else null

 private:
  Device device_;
  void* native_ = nullptr;
};

// Owns bytes on a device; 64-byte aligned on the CPU, zeroed on allocation. Throws SystemError when
// there is not enough memory, NotBuilt for CUDA without CUDA.
class RawBuffer {
 public:
  RawBuffer() = default;
  RawBuffer(std::size_t bytes, Device device);
  ~RawBuffer();
  RawBuffer(RawBuffer&& other) noexcept;
  RawBuffer& operator=(RawBuffer&& other) noexcept;
  [[nodiscard]] std::byte* data() const { return data_; }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }
  [[nodiscard]] Device device() const { return device_; }

 private:
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
  Device device_;
};

// Copies between any two devices, in stream order. Where one of them is a CUDA device, the stream
// must be of it (of either, where both are), else SystemError: no other is in order with its work.
void copy_bytes(std::byte* to, Device to_device, const std::byte* from, Device from_device,
                std::size_t bytes, Stream& stream);

template <typename T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t size, Device device = {})
      : raw_(size * sizeof(T), device), size_(size) {}
  [[nodiscard]] T* data() const { return reinterpret_cast<T*>(raw_.data()); }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] Device device() const { return raw_.device(); }
  [[nodiscard]] std::span<T> span() const {
    return {data(), size_};
  }  // only meaningful to read on the CPU

 private:
  RawBuffer raw_;
  std::size_t size_ = 0;
};

}  // namespace refract
