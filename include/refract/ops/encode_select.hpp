#pragma once
// The encoder and its selection as one op, since between them stand F values for each row of which
// few are wanted.
//
//   pre = x W_enc^T + b_enc          x: centred, where the SAE subtracts b_dec
//   entries of a row: the k largest pre > 0, or the k largest |pre| > 0 with their sign,
//                     or every pre > max(least, share * floor[f] + offset)
//   aux entries:      the k_aux largest pre of dead features, of any sign (AuxK)
//
// Ties go to the lower feature, NaN is never selected, a row's features are listed in ascending
// order. A row that is not included has no entries. A row's result depends on that row and the
// weights alone: not on the other rows of the call, nor on threads (ops/gemm.hpp for the CPU; on
// CUDA every product has the same number of rows, in fp32, never TF32). The bodies add their
// products in different orders, so pre may differ in its last bits and a feature at the edge of
// the k may be another one.
#include <cstdint>
#include <memory>

#include "refract/base/dtype.hpp"
#include "refract/ops/entries.hpp"
#include "refract/tensor/tensor.hpp"

namespace refract {

struct Choice {
  std::size_t k = 0;                // > 0: so many of the largest; else by floor
  bool by_magnitude = false;        // k > 0: of |pre|
  TensorView<const float> floor{};  // [F], or empty: 0
  float share = 1;                  // of the floor: half a floor for candidates
  float offset = 0;
  float least = 0;  // below 0: also what a ReLU would leave out
};

// Features that have not fired for long (ops/feature_ages.hpp).
struct DeadFeatures {
  TensorView<std::uint32_t> features;  // [F], of which the first count[0] are meant, ascending
  TensorView<std::uint64_t> count;     // [1]
};

struct AuxSelection {
  DeadFeatures dead;
  std::size_t k = 0;  // of each row, or as many as are dead
  RowEntries out;     // per_row = k
};

struct EncodeRequest {
  TensorView<const float> x;                  // [n, D]
  TensorView<const std::uint8_t> included{};  // [n], or empty: all
  Choice choice;
  // per_row = choice.k, or more where places beyond k stay empty, or 0 and room for n F entries
  RowEntries out;
  const AuxSelection* aux = nullptr;         // none: no AuxK
  TensorView<const std::uint64_t> unless{};  // [1]: when it is not 0 nothing is done; empty: always
};

class EncodeSelectBody;  // src/ops

// Whether products in bf16 run there: on a CPU with AVX-512-BF16.
[[nodiscard]] bool encodes_in_bf16(Device device);

// Owns the packed weights and the work memory of one body, made at once and kept.
class EncodeSelect {
 public:
  // product: fp32, or bf16, operands rounded and sums in fp32, where encodes_in_bf16(device).
  EncodeSelect(std::size_t d_sae, std::size_t d_in, Device device = {}, DType product = DType::f32);
  ~EncodeSelect();
  EncodeSelect(EncodeSelect&&) noexcept;
  EncodeSelect& operator=(EncodeSelect&&) noexcept;

  // After every change of the weights, before run. W_enc [F, D], b_enc [F]; they stay where they
  // are until the last run, since the CUDA body reads them there.
  void pack(TensorView<const float> W_enc, TensorView<const float> b_enc, Stream& stream);
  // SystemError for a wrong shape or device.
  void run(const EncodeRequest& request, Stream& stream);
  // What it holds beside the weights, for the plan.
  [[nodiscard]] static std::size_t work_bytes(std::size_t d_sae, std::size_t d_in, Device device);

 private:
  std::size_t d_sae_, d_in_;
  Device device_;
  std::unique_ptr<EncodeSelectBody> body_;
};

}  // namespace refract
