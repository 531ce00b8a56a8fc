#pragma once
// What travels as bf16, on a device (wire_cuda.cu): the bits that base/dtype.hpp makes on the CPU.
#include <cstddef>

#include "refract/base/dtype.hpp"
#include "refract/device/device.hpp"

namespace refract::cuda {

// count elements each, on the stream's device; they do not overlap.
void to_bf16(const float* from, BFloat16* to, std::size_t count, Stream& stream);
void to_float(const BFloat16* from, float* to, std::size_t count, Stream& stream);

}  // namespace refract::cuda
