#include "refract/device/device.hpp"

#include <gtest/gtest.h>

#include <array>
#include <string>

#include "refract/base/error.hpp"

namespace refract {
namespace {

TEST(CopyBytes, between_host_buffers_takes_any_stream) {
  Stream stream;
  std::array<std::byte, 3> from{std::byte{1}, std::byte{2}, std::byte{3}}, to{};

  copy_bytes(to.data(), {}, from.data(), {}, 3, stream);

  EXPECT_EQ(to, from);
}

// Refused before the pointers are looked at, so no device is needed.
TEST(CopyBytes, from_or_to_a_gpu_is_refused_on_a_stream_that_is_not_of_it) {
  const Device gpu{DeviceKind::cuda, 1};
  Stream cpu;
  std::array<std::byte, 3> bytes{};
  for (const auto& [to, from] : {std::pair{gpu, Device{}}, {Device{}, gpu}, {gpu, gpu}})
    for (const std::size_t count : {std::size_t{0}, bytes.size()}) {
      try {
        copy_bytes(bytes.data(), to, bytes.data(), from, count, cpu);
        ADD_FAILURE() << "accepted";
      } catch (const SystemError& error) {
        EXPECT_NE(std::string(error.what()).find("was queued on a stream of the CPU"),
                  std::string::npos)
            << error.what();
      }
    }
}

}  // namespace
}  // namespace refract
