#pragma once
// The tensors of a decoder's folder by name: those that every block has, and those beside the
// blocks. A family lists them once; the list is checked before anything is read, and read from.
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lm/model_weights.hpp"
#include "refract/lm/language_model.hpp"
#include "refract/ops/gemm.hpp"
#include "refract/tensor/tensor.hpp"

namespace refract {

struct LayerNorm {
  Tensor<float> weight, bias;  // [D]
};

class BlockTensors {
 public:
  // Blocks are `prefix` + "0.", "1." ...; `skipped` are names in a block that no model reads, such
  // as masks that old exports hold.
  BlockTensors(const ModelWeights& weights, const ModelInfo& info, std::string prefix,
               std::vector<std::string> skipped);

  void add_gain(std::string_view name, std::size_t width);  // name.weight [width]
  void add_norm(std::string_view name, std::size_t width);  // and name.bias
  void add_linear(std::string_view name, std::size_t out, std::size_t in, bool has_bias);
  // A product stored as [in, out] (GPT-2's Conv1D), with a bias.
  void add_conv1d(std::string_view name, std::size_t in, std::size_t out);
  void add_beside(std::string name, Shape shape);

  // DataError when a tensor is missing or has another shape or dtype, or when a block has one that
  // is neither listed nor skipped: then the architecture is another one, or its sizes are.
  void check() const;

  [[nodiscard]] Tensor<float> read(std::size_t layer, std::string_view name) const;
  [[nodiscard]] Tensor<float> read_beside(std::string_view name) const;
  [[nodiscard]] LayerNorm norm(std::size_t layer, std::string_view name) const;
  // Products of one input, one below the other, with their biases where they have them.
  [[nodiscard]] PackedMatrix stacked(std::size_t layer,
                                     const std::vector<std::string>& names) const;
  [[nodiscard]] PackedMatrix conv1d(std::size_t layer, std::string_view name) const;
  // The unembedding: `table` where it is tied, else the tensor of that name.
  [[nodiscard]] PackedMatrix head(const Tensor<float>* table, std::string_view name) const;

 private:
  using Listed = std::pair<std::string, Shape>;
  [[nodiscard]] Tensor<float> read_listed(const std::vector<Listed>& list, std::string_view prefix,
                                          std::string_view name) const;
  [[nodiscard]] bool has_bias(const std::string& name) const;
  void refuse_unknown() const;

  const ModelWeights& weights_;
  const ModelInfo& info_;
  std::string prefix_;
  std::vector<std::string> skipped_;
  std::vector<Listed> in_block_, beside_;
};

// Some exports of tied models hold the table only under the head's name.
[[nodiscard]] std::string table_or_head(const ModelWeights& weights, const std::string& table,
                                        const std::string& head, bool tied);

}  // namespace refract
