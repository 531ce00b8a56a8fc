#pragma once
// What an op does when the stream's device has no body for it.
#include <string_view>

#include "refract/base/error.hpp"
#include "refract/device/device.hpp"

namespace refract {

inline void expect_cpu(const Stream& stream, std::string_view op) {
  if (stream.device().kind == DeviceKind::cpu) return;
  throw NotBuilt("{} has no CUDA body: set device to cpu.", op);
}

}  // namespace refract
