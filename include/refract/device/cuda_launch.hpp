#pragma once
// What a *_cuda.cu needs around its kernels. Names no CUDA type, so that any room may include it.
#include "refract/device/device.hpp"

namespace refract::cuda {

// Throws SystemError "CUDA device 0: DOING: TEXT". Lives in a host file because nvcc cannot check
// fmt's formats.
[[noreturn]] void throw_cuda_error(const char* doing, int device, const char* text);

// Makes the stream's device the one that launches go to, and returns its cudaStream_t. Throws
// SystemError.
[[nodiscard]] void* enter(const Stream& stream);

// After a launch on `stream`: throws SystemError where the launch itself was refused. What a kernel
// does wrong later shows at the next synchronize().
void check_launch(const char* kernel, const Stream& stream);

}  // namespace refract::cuda
