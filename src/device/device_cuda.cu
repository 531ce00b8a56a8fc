// The CUDA side of Device, Stream and Buffer: plain allocations, one stream object per Stream.
// Every failure names the call, the device and CUDA's own text.
#include <cuda_runtime.h>

#include <cstddef>
#include <cstring>

#include "device/device_bodies.hpp"
#include "refract/device/cuda_launch.hpp"

namespace refract::cuda {
namespace {

void check(cudaError_t code, const char* doing, int device) {
  if (code != cudaSuccess) throw_cuda_error(doing, device, cudaGetErrorString(code));
}

}  // namespace

void* enter(const Stream& stream) {
  check(cudaSetDevice(stream.device().index), "cudaSetDevice", stream.device().index);
  return stream.native();
}

void check_launch(const char* kernel, const Stream& stream) {
  check(cudaGetLastError(), kernel, stream.device().index);
}

int device_count() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) return 0;  // no driver: the CPU is used
  return count;
}

void* create_stream(int device) {
  check(cudaSetDevice(device), "cudaSetDevice", device);
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreate", device);
  return stream;
}

void destroy_stream(int device, void* stream) {
  cudaSetDevice(device);
  cudaStreamDestroy(static_cast<cudaStream_t>(stream));
}

void synchronize(int device, void* stream) {
  check(cudaStreamSynchronize(static_cast<cudaStream_t>(stream)), "cudaStreamSynchronize", device);
}

std::byte* allocate(std::size_t bytes, int device) {
  check(cudaSetDevice(device), "cudaSetDevice", device);
  void* data = nullptr;
  check(cudaMalloc(&data, bytes), "cudaMalloc", device);
  check(cudaMemset(data, 0, bytes), "cudaMemset", device);
  // The zeros are written behind our back, and a Stream does not wait for the default stream: wait
  // here.
  check(cudaStreamSynchronize(nullptr), "cudaMemset", device);
  return static_cast<std::byte*>(data);
}

void release(std::byte* data, int device) {
  cudaSetDevice(device);
  cudaFree(data);
}

std::byte* allocate_pinned(std::size_t bytes, int device) {
  check(cudaSetDevice(device), "cudaSetDevice", device);
  void* data = nullptr;
  check(cudaHostAlloc(&data, bytes, cudaHostAllocDefault), "cudaHostAlloc", device);
  std::memset(data, 0, bytes);
  return static_cast<std::byte*>(data);
}

void release_pinned(std::byte* data, int device) {
  cudaSetDevice(device);
  cudaFreeHost(data);
}

void* create_event(int device) {
  check(cudaSetDevice(device), "cudaSetDevice", device);
  cudaEvent_t event = nullptr;
  check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreate", device);
  return event;
}

void destroy_event(int device, void* event) {
  cudaSetDevice(device);
  cudaEventDestroy(static_cast<cudaEvent_t>(event));
}

void record_event(int device, void* event, void* stream) {
  check(cudaSetDevice(device), "cudaSetDevice", device);
  check(cudaEventRecord(static_cast<cudaEvent_t>(event), static_cast<cudaStream_t>(stream)),
        "cudaEventRecord", device);
}

void synchronize_event(int device, void* event) {
  check(cudaEventSynchronize(static_cast<cudaEvent_t>(event)), "cudaEventSynchronize", device);
}

void hold_stream(int device, void* stream, void* event) {
  check(cudaSetDevice(device), "cudaSetDevice", device);
  check(cudaStreamWaitEvent(static_cast<cudaStream_t>(stream), static_cast<cudaEvent_t>(event), 0),
        "cudaStreamWaitEvent", device);
}

void copy(std::byte* to, const std::byte* from, std::size_t bytes, int device, void* stream) {
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, static_cast<cudaStream_t>(stream)),
        "cudaMemcpyAsync", device);
}

}  // namespace refract::cuda
