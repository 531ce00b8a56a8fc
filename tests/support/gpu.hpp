#pragma once
// What the gpu tests share: the fixture that skips without a device, and copies to and from device
// 0.
#include <gtest/gtest.h>

#include <vector>

#include "refract/tensor/tensor.hpp"

namespace refract::test {

inline constexpr const char* kNoDevice = "this machine has no CUDA device";

class OnGpu : public testing::Test {
 protected:
  void SetUp() override {
    if (cuda_device_count() == 0) GTEST_SKIP() << kNoDevice;
    stream = Stream(gpu);
  }

  template <typename T>
  Tensor<T> upload(const Tensor<T>& host) {
    Tensor<T> out(host.shape(), gpu);
    copy_tensor(host.cview(), out.view(), stream);
    stream.synchronize();
    return out;
  }
  template <typename T>
  Tensor<T> download(TensorView<T> there) {
    Tensor<T> out(there.shape());
    copy_tensor(there, out.view(), stream);
    stream.synchronize();
    return out;
  }
  template <typename T>
  Tensor<T> download(const Tensor<T>& there) {
    return download(there.view());
  }

  const Device gpu{DeviceKind::cuda, 0};
  Stream stream;
};

}  // namespace refract::test
