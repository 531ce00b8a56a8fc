#pragma once
// What a TopkEncoder does, by bodies: topk_encoder.cpp (CPU), topk_encoder_cuda.cu.
#include <memory>

#include "refract/sae/topk_encoder.hpp"

namespace refract {

class TopkEncoderBody {
 public:
  virtual ~TopkEncoderBody() = default;
  virtual void pack(const SaeParameters& parameters, Stream& stream) = 0;
  virtual void encode(const SaeParameters& parameters, TensorView<const float> x,
                      const TopkRows& rows, Stream& stream) = 0;
};

// Called only where has_cuda holds.
[[nodiscard]] std::unique_ptr<TopkEncoderBody> make_cuda_topk_encoder(Device device);

}  // namespace refract
