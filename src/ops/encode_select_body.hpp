#pragma once
// What an EncodeSelect does, by bodies: encode_select.cpp (CPU), encode_select_cuda.cu.
#include <algorithm>
#include <memory>

#include "refract/ops/encode_select.hpp"

namespace refract {

class EncodeSelectBody {
 public:
  virtual ~EncodeSelectBody() = default;
  virtual void pack(TensorView<const float> W_enc, TensorView<const float> b_enc,
                    Stream& stream) = 0;
  virtual void run(const EncodeRequest& request, Stream& stream) = 0;
};

// Rows that the CUDA body multiplies at a time: a function of F alone, so that a row's result does
// not depend on how many there are. 512 rows of 24,576 values are 50 MB, which an L2 may hold.
inline constexpr std::size_t kMostPreBytes = std::size_t{256} << 20;
[[nodiscard]] constexpr std::size_t cuda_panel_rows(std::size_t d_sae) {
  return std::clamp<std::size_t>(kMostPreBytes / sizeof(float) / d_sae / 64 * 64, 64, 512);
}

// Called only where has_cuda holds.
[[nodiscard]] std::unique_ptr<EncodeSelectBody> make_cuda_encode_select(std::size_t d_sae,
                                                                        std::size_t d_in,
                                                                        Device device);

}  // namespace refract
