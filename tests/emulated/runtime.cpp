// The bodies of shim/cuda_runtime.h.
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>

#include "cuda_runtime.h"
#include "emulated/arena.hpp"

struct CUstream_st {
  int device;
};
struct CUevent_st {
  int device;
  std::chrono::steady_clock::time_point recorded;
};

namespace {

using refract::emulated::device_of;
using refract::emulated::kDevices;
using refract::emulated::Open;

thread_local int current_device = 0;
thread_local cudaError_t last_error = cudaSuccess;
thread_local std::string what_the_kernel_did;
std::mutex mutex;                                // of what follows
std::map<const std::byte*, std::size_t> pinned;  // host memory that devices may read

cudaError_t fail(cudaError_t code) { return last_error = code; }

int device_of_stream(cudaStream_t stream) { return stream ? stream->device : current_device; }

cudaError_t fill(void* data, int value, std::size_t bytes) {
  if (bytes == 0) return cudaSuccess;
  const int device = device_of(data);
  if (device < 0) return fail(cudaErrorInvalidValue);
  const Open open(device);
  std::memset(data, value, bytes);
  return cudaSuccess;
}

cudaError_t copy(void* to, const void* from, std::size_t bytes) {
  if (bytes == 0) return cudaSuccess;
  const Open open_to(device_of(to)), open_from(device_of(from));
  std::memcpy(to, from, bytes);
  return cudaSuccess;
}

}  // namespace

cudaError_t cudaGetDeviceCount(int* count) {
  *count = kDevices;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= kDevices) return fail(cudaErrorInvalidDevice);
  current_device = device;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = current_device;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetPCIBusId(char* text, int size, int device) {
  if (device < 0 || device >= kDevices) return fail(cudaErrorInvalidDevice);
  const std::string id = fmt::format("0000:{:02x}:00.0", device);
  if (size <= static_cast<int>(id.size())) return fail(cudaErrorInvalidValue);
  std::memcpy(text, id.c_str(), id.size() + 1);
  return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }
cudaError_t cudaMemGetInfo(std::size_t* free_bytes, std::size_t* total_bytes) {
  *free_bytes = *total_bytes = std::size_t{8} << 30;
  return cudaSuccess;
}

const char* cudaGetErrorString(cudaError_t code) {
  switch (code) {
    case cudaSuccess: return "no error";
    case cudaErrorInvalidValue: return "invalid argument";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInvalidConfiguration: return "invalid configuration argument";
    case cudaErrorInvalidDevice: return "invalid device ordinal";
    case cudaErrorInvalidResourceHandle: return "invalid resource handle";
    case cudaErrorNotReady: return "device not ready";
    case cudaErrorLaunchFailure: return what_the_kernel_did.c_str();
  }
  return "unknown error";
}
cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }
cudaError_t cudaPeekAtLastError() { return last_error; }

cudaError_t cudaMalloc(void** data, std::size_t bytes) {
  *data = nullptr;
  if (bytes == 0) return cudaSuccess;
  *data = refract::emulated::allocate(current_device, bytes);
  return *data ? cudaSuccess : fail(cudaErrorMemoryAllocation);
}
cudaError_t cudaFree(void* data) {
  return !data || refract::emulated::release(data) ? cudaSuccess : fail(cudaErrorInvalidValue);
}
cudaError_t cudaHostAlloc(void** data, std::size_t bytes, unsigned) {
  *data = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  if (!*data) return fail(cudaErrorMemoryAllocation);
  const std::lock_guard lock(mutex);
  pinned[static_cast<std::byte*>(*data)] = bytes;
  return cudaSuccess;
}
cudaError_t cudaMallocHost(void** data, std::size_t bytes) { return cudaHostAlloc(data, bytes, 0); }
cudaError_t cudaFreeHost(void* data) {
  const std::lock_guard lock(mutex);
  if (data && pinned.erase(static_cast<std::byte*>(data)) == 0) return fail(cudaErrorInvalidValue);
  std::free(data);
  return cudaSuccess;
}
cudaError_t cudaMemset(void* data, int value, std::size_t bytes) {
  return fill(data, value, bytes);
}
cudaError_t cudaMemsetAsync(void* data, int value, std::size_t bytes, cudaStream_t) {
  return fill(data, value, bytes);
}
cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind) {
  return copy(to, from, bytes);
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind,
                            cudaStream_t) {
  return copy(to, from, bytes);
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new CUstream_st{current_device};
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
cudaError_t cudaStreamQuery(cudaStream_t) { return cudaSuccess; }
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) { return cudaSuccess; }
cudaError_t cudaEventCreate(cudaEvent_t* event) {
  return cudaEventCreateWithFlags(event, cudaEventDefault);
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st{current_device, {}};
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
// As CUDA does, an event takes only streams of its own device.
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (event->device != device_of_stream(stream)) return fail(cudaErrorInvalidResourceHandle);
  event->recorded = std::chrono::steady_clock::now();
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventQuery(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  *milliseconds = std::chrono::duration<float, std::milli>(end->recorded - start->recorded).count();
  return cudaSuccess;
}

namespace refract::emulated {

std::string check_pointer(const void* pointer, std::size_t argument, cudaStream_t stream) {
  const int device = device_of_stream(stream), of = device_of(pointer);
  if (!pointer || of == device) return {};
  if (of >= 0)
    return fmt::format("argument {} points to memory of device {}, the kernel runs on device {}",
                       argument, of, device);
  const std::lock_guard lock(mutex);
  const auto* at = static_cast<const std::byte*>(pointer);
  const auto next = pinned.upper_bound(at);
  if (next != pinned.begin() && at < std::prev(next)->first + std::prev(next)->second) return {};
  return fmt::format("argument {} points to host memory", argument);
}

cudaError_t launch(const cudaLaunchConfig_t& config, std::string wrong_argument,
                   const std::function<void()>& thread) {
  const int device = device_of_stream(config.stream);
  if (device != current_device) return fail(cudaErrorInvalidResourceHandle);
  const dim3 grid = config.gridDim, block = config.blockDim;
  if (grid.x == 0 || grid.x > 0x7FFFFFFFU || grid.y != 1 || grid.z != 1 || block.x == 0 ||
      block.x > 1024 || block.y != 1 || block.z != 1 || config.dynamicSmemBytes != 0)
    return fail(cudaErrorInvalidConfiguration);
  what_the_kernel_did = std::move(wrong_argument);
  if (what_the_kernel_did.empty()) {
    static std::mutex one_at_a_time;  // threadIdx and its like are single
    const std::lock_guard lock(one_at_a_time);
    const Open open(device);
    what_the_kernel_did = run_grid(grid.x, block.x, thread);
    if (what_the_kernel_did.empty()) what_the_kernel_did = overwritten(device);
  }
  return what_the_kernel_did.empty() ? cudaSuccess : fail(cudaErrorLaunchFailure);
}

}  // namespace refract::emulated
