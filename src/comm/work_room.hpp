#pragma once
// A work buffer of an exchange: grown when a call needs more, never shrunk.
#include <cstddef>

#include "refract/device/device.hpp"

namespace refract {

class WorkRoom {
 public:
  explicit WorkRoom(Device device = {}) : device_(device) {}
  // What was in it is lost when it grows; on a device the work that uses it has ended by then, for
  // freeing waits for it.
  template <typename T>
  [[nodiscard]] T* of(std::size_t count) {
    if (count * sizeof(T) > buffer_.bytes()) {
      buffer_ = RawBuffer();
      buffer_ = RawBuffer(count * sizeof(T), device_);
    }
    return reinterpret_cast<T*>(buffer_.data());
  }

 private:
  Device device_;
  RawBuffer buffer_;
};

}  // namespace refract
