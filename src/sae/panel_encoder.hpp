#pragma once
// Pre-activations of rows, panel by panel: pre = (x - b_dec) W_enc^T + b_enc.
#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "refract/ops/gemm.hpp"
#include "refract/sae/select_top.hpp"
#include "refract/sae/state.hpp"
#include "sae/row_kernels.hpp"
#include "sae/workers.hpp"

namespace refract {

// Rows multiplied at a time: their pre-activations are still in cache when the selection reads
// them.
inline constexpr std::size_t kPanelRows = 64;

struct PanelMemory {
  Tensor<float> centred;  // [kPanelRows, D]
  Tensor<float> pre;      // [kPanelRows, F]
  SelectScratch select;
  std::vector<float> dead_pre;  // one row's pre-activations of dead features
  std::vector<const float*> rows;
};

class PanelEncoder {
 public:
  // Once per step. Keeps its memory between steps.
  void pack(const SaeParameters& parameters) {
    Stream stream;
    weights_.pack(parameters.W_enc.cview(), parameters.b_enc.cview(), stream);
  }
  // row(i, pre-activations [F] of row i, memory) for every included row (empty: all); the rows of
  // one panel in order on one thread. A row's pre-activations do not depend on the panel
  // (ops/gemm.hpp).
  template <typename Row>
  void run(const SaeParameters& parameters, TensorView<const float> x,
           std::span<const std::uint8_t> included, Row&& row) {
    const std::size_t n = x.axis(0), d_in = parameters.d_in(), d_sae = parameters.d_sae();
    for_each_item(
        (n + kPanelRows - 1) / kPanelRows, memory_, [&](std::size_t panel, PanelMemory& memory) {
          const std::size_t first = panel * kPanelRows, rows = std::min(kPanelRows, n - first);
          if (memory.pre.size() == 0) {
            memory.centred = Tensor<float>(Shape{kPanelRows, d_in});
            memory.pre = Tensor<float>(Shape{kPanelRows, d_sae});
          }
          for (std::size_t r = 0; r < rows; ++r)
            subtract(x.data() + (first + r) * d_in, parameters.b_dec.data(), d_in,
                     memory.centred.row(r).data());
          Stream stream;
          gemm_nt(memory.centred.cview().rows(0, rows), weights_, memory.pre.view().rows(0, rows),
                  first, stream);
          for (std::size_t r = 0; r < rows; ++r)
            if (included.empty() || included[first + r] != 0)
              row(first + r, std::span<const float>(memory.pre.row(r)), memory);
        });
  }

 private:
  PackedMatrix weights_;
  std::vector<PanelMemory> memory_;
};

}  // namespace refract
