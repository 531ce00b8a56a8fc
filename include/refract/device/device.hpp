#pragma once
// Where memory lives and where work is queued. The CPU is a first-class device: its Stream runs
// work at once.
#include <cstddef>
#include <cstdint>
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

// A point in a stream's work. On the CPU work has finished when it was queued, and so has the
// event.
class Event {
 public:
  explicit Event(Device device = {});
  ~Event();
  Event(Event&& other) noexcept;
  Event& operator=(Event&& other) noexcept;
  void record(Stream& stream);  // behind what the stream holds now
  void synchronize();           // returns when that has finished; at once when never recorded
  void hold(Stream& stream);    // what is queued on `stream` from now on waits for it

 private:
  Device device_;
  void* native_ = nullptr;  // cudaEvent_t
};

// What was done since the process began, so that a test can say that a step does none of it.
struct DeviceActivity {
  std::uint64_t allocations = 0;     // of buffers, on any device
  std::uint64_t copies_to_host = 0;  // from CUDA devices
};
[[nodiscard]] DeviceActivity device_activity();

// Owns bytes on a device; 64-byte aligned on the CPU, zero on allocation (large ones on the CPU are
// given by the system page by page, when they are first written). Throws SystemError when
// there is not enough memory, NotBuilt for CUDA without CUDA.
class RawBuffer {
 public:
  enum class Memory {
    device,
    pinned
  };  // pinned: host memory that the device copies into by itself

  RawBuffer() = default;
  RawBuffer(std::size_t bytes, Device device, Memory memory = Memory::device);
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
  Memory memory_ = Memory::device;
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

// Values that a device leaves for the host: pinned where the device is CUDA. The host reads them
// when an Event behind the copy has finished.
template <typename T>
class PinnedBuffer {
 public:
  PinnedBuffer() = default;
  PinnedBuffer(std::size_t size, Device device)
      : raw_(size * sizeof(T), device, RawBuffer::Memory::pinned), size_(size) {}
  [[nodiscard]] T* data() const { return reinterpret_cast<T*>(raw_.data()); }
  [[nodiscard]] std::span<T> span() const { return {data(), size_}; }

 private:
  RawBuffer raw_;
  std::size_t size_ = 0;
};

}  // namespace refract
