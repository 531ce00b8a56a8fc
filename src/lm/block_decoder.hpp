#pragma once
// What decoders have in common, whatever their blocks are: a call takes activations, runs blocks up
// to the last that is asked for, and gives the activations back.
#include <memory>
#include <mutex>
#include <utility>

#include "lm/packed_tokens.hpp"
#include "refract/lm/language_model.hpp"

namespace refract {

// Activations: the tensors of one call; its member x [rows, D] is the residual stream.
template <typename Activations>
class BlockDecoder : public LanguageModel {
 public:
  explicit BlockDecoder(ModelInfo info) : info_(std::move(info)) {}

  [[nodiscard]] const ModelInfo& info() const override { return info_; }

  void forward(const PackedTokens& tokens, int last_layer, Tap& tap,
               Stream& stream) const override {
    expect_fits(tokens, info_);
    expect_layer({last_layer, Site::resid_post}, info_);
    auto activations = take_activations(tokens.ids.size());
    run_blocks(tokens, last_layer, tap, *activations, stream);
    return_activations(std::move(activations));
  }

  void forward_to_unembedding(const PackedTokens& tokens, Tap& tap, TensorView<float> normed,
                              Stream& stream) const override {
    expect_fits(tokens, info_);
    const std::size_t rows = tokens.ids.size();
    expect_shape(normed, "normed", {{"N", rows}, {"D", info_.d_model}});
    auto activations = take_activations(rows);
    run_blocks(tokens, static_cast<int>(info_.layers) - 1, tap, *activations, stream);
    final_norm(activations->x.view().rows(0, rows), normed, stream);
    return_activations(std::move(activations));
  }

 private:
  virtual void run_blocks(const PackedTokens& tokens, int last_layer, Tap& tap,
                          Activations& activations, Stream& stream) const = 0;
  virtual void final_norm(TensorView<const float> x, TensorView<float> normed,
                          Stream& stream) const = 0;
  [[nodiscard]] virtual std::unique_ptr<Activations> new_activations(std::size_t rows) const = 0;

  // Calls are const and may run side by side; each takes the spare activations or makes its own.
  // They are kept between calls of the same or smaller size.
  [[nodiscard]] std::unique_ptr<Activations> take_activations(std::size_t rows) const {
    const std::lock_guard lock(spare_mutex_);
    if (spare_ && spare_->x.axis(0) >= rows) return std::move(spare_);
    return new_activations(rows);
  }
  void return_activations(std::unique_ptr<Activations> activations) const {
    const std::lock_guard lock(spare_mutex_);
    spare_ = std::move(activations);
  }

  ModelInfo info_;
  mutable std::mutex spare_mutex_;
  mutable std::unique_ptr<Activations> spare_;
};

}  // namespace refract
