// What travels as bf16 has the bits that the CPU makes, of every kind of float.
#include "comm/wire_cuda.hpp"

#include <bit>
#include <cstdint>

#include "support/gpu.hpp"

namespace refract {
namespace {

using WireOnGpu = test::OnGpu;

TEST_F(WireOnGpu, rounds_and_widens_as_the_cpu_does) {
  constexpr std::size_t kSize = 33'333;
  Tensor<float> host(Shape{kSize});
  for (std::size_t i = 0; i < kSize; ++i)  // all exponents, denormals, infinities and NaNs
    host.data()[i] = std::bit_cast<float>(static_cast<std::uint32_t>(i * 2'654'435'761U));
  const Tensor<float> there = upload(host), back(Shape{kSize}, gpu);
  const Tensor<std::uint16_t> rounded(Shape{kSize}, gpu);
  auto* bf16 = reinterpret_cast<BFloat16*>(rounded.data());

  cuda::to_bf16(there.data(), bf16, kSize, stream);
  cuda::to_float(bf16, back.data(), kSize, stream);

  const Tensor<std::uint16_t> found = download(rounded);
  const Tensor<float> widened = download(back);
  for (std::size_t i = 0; i < kSize; ++i) {
    const BFloat16 expected = to_bf16(host.data()[i]);
    ASSERT_EQ(found.data()[i], expected.bits) << i;
    ASSERT_EQ(std::bit_cast<std::uint32_t>(widened.data()[i]),
              std::bit_cast<std::uint32_t>(to_float(expected)))
        << i;
  }
}

}  // namespace
}  // namespace refract
