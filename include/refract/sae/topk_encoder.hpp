#pragma once
// The encoder of a TopK SAE: the dense product and the selection, as one op, since between them
// stand F values for each row of which k are wanted.
//
//   pre = (x - b_dec) W_enc^T + b_enc;   of each row the k largest pre greater than 0
//
// Bodies: CPU; CUDA (cuBLAS in fp32, never TF32, and a selection kernel). Both subtract b_dec
// before the product, keep ties by lower index, never select NaN, and list a row's features in
// ascending order. Their products add in different orders, so pre may differ in its last bits, and
// a feature at the edge of the k may be another one. A row's result does not depend on which other
// rows are in the call: see ops/gemm.hpp for the CPU; on CUDA every product has the same number of
// rows, whatever is asked for.
#include <cstdint>
#include <memory>

#include "refract/sae/state.hpp"

namespace refract {

// The selected features of n rows. Behind a row's count stands nothing of meaning.
struct TopkRows {
  TensorView<std::uint32_t> features;  // [n, k], ascending in a row
  TensorView<float> values;            // [n, k], pre of each
  TensorView<std::uint32_t> counts;    // [n], at most k
};

class TopkEncoderBody;  // src/sae

// Owns the work memory of one body, kept between calls; on CUDA 32 MiB for cuBLAS and at most 256
// MiB for pre, or 64 rows of it where those are more.
class TopkEncoder {
 public:
  explicit TopkEncoder(Device device = {});
  ~TopkEncoder();
  TopkEncoder(TopkEncoder&&) noexcept;
  TopkEncoder& operator=(TopkEncoder&&) noexcept;

  // After every change of the weights, before encode. The parameters live on the encoder's device,
  // as does everything below.
  void pack(const SaeParameters& parameters, Stream& stream);
  // x [n, D] f32. Enqueues; finished on return on the CPU. Throws SystemError for a wrong shape or
  // device.
  void encode(const SaeParameters& parameters, TensorView<const float> x, const TopkRows& rows,
              Stream& stream);

 private:
  Device device_;
  std::unique_ptr<TopkEncoderBody> body_;
};

}  // namespace refract
