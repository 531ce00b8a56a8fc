#pragma once
// What an EncodeSelect does, by bodies: encode_select.cpp (CPU), encode_select_cuda.cu.
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

// Called only where has_cuda holds.
[[nodiscard]] std::unique_ptr<EncodeSelectBody> make_cuda_encode_select(std::size_t d_sae,
                                                                        std::size_t d_in,
                                                                        Device device);

}  // namespace refract
