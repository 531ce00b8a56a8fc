#pragma once
// A model whose loss says how far its stream was moved, and held-out rows of it: what splicing
// costs is then known by hand.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "refract/base/file.hpp"
#include "refract/base/random.hpp"
#include "refract/lm/language_model.hpp"
#include "refract/stages/token_corpus.hpp"
#include "refract/store/calibration.hpp"
#include "refract/store/chunk.hpp"
#include "support/shard_of_ids.hpp"

namespace refract::test {

// The residual stream is a function of the token, and so is what is read before it. A token moved
// by a squared distance m gives its successor the probability exp(-(1 + m)), and all other tokens
// the rest in equal shares.
class MovedStream final : public LanguageModel {
 public:
  static constexpr std::size_t kDim = 6, kVocabulary = 100;
  static constexpr const char* kHook = "blocks.0.hook_resid_post";
  static constexpr std::size_t kInputDim = 4;
  static constexpr const char* kInput = "blocks.0.ln2.hook_normalized";

  // called: at each run
  explicit MovedStream(std::function<void()> called = {}) : called_(std::move(called)) {
    info_.layers = 1;
    info_.d_model = kDim;
    info_.vocab = kVocabulary;
  }
  static std::vector<float> stream_of(std::uint32_t id) {
    const CounterRng rng(Purpose::test, {id});
    std::vector<float> row(kDim);
    for (std::size_t d = 0; d < kDim; ++d) row[d] = static_cast<float>(rng.normal(d) + 2);
    return row;
  }
  // What a transcoder can read: three times the stream's first dimensions.
  static std::vector<float> input_of(std::uint32_t id) {
    std::vector<float> row = stream_of(id);
    row.resize(kInputDim);
    for (float& value : row) value *= 3;
    return row;
  }
  // KL of the unmoved from the moved prediction.
  static double divergence_of(double moved) {
    const double p = std::exp(-1.0);
    return p * moved + (1 - p) * std::log((1 - p) / (1 - std::exp(-(1 + moved))));
  }

  [[nodiscard]] const ModelInfo& info() const override { return info_; }
  void require(HookPoint) const override {}
  void forward(const PackedTokens&, int, Tap&, Stream&) const override { FAIL(); }
  void forward_to_unembedding(const PackedTokens& tokens, Tap& tap, TensorView<float> normed,
                              Stream& stream) const override {
    ++runs_;
    if (called_) called_();
    const std::size_t n = tokens.ids.size();
    Tensor<float> values(Shape{n, kDim}), input(Shape{n, kInputDim});
    for (std::size_t i = 0; i < n; ++i) {
      std::ranges::copy(input_of(tokens.ids[i]), input.row(i).begin());
      std::ranges::copy(stream_of(tokens.ids[i]), values.row(i).begin());
    }
    tap.at(parse_hook_point(kInput), input.view(), stream);
    tap.at(parse_hook_point(kHook), values.view(), stream);
    const std::vector<std::uint32_t> targets = successors(tokens);
    for (std::size_t i = 0; i < n; ++i) {
      const std::vector<float> before = stream_of(tokens.ids[i]);
      float moved = 0;
      for (std::size_t d = 0; d < kDim; ++d) moved += std::pow(values.row(i)[d] - before[d], 2.0F);
      normed.row(i)[0] = moved;
      normed.row(i)[1] = static_cast<float>(targets[i]);
    }
  }
  void unembed(TensorView<const float> normed, std::size_t, TensorView<float> logits,
               Stream&) const override {
    for (std::size_t i = 0; i < normed.axis(0); ++i) {
      const double moved = static_cast<double>(normed.row(i)[0]);
      std::ranges::fill(logits.row(i),
                        static_cast<float>(std::log(std::expm1(1 + moved) / (kVocabulary - 1))));
      logits.row(i)[static_cast<std::size_t>(normed.row(i)[1])] = 0;
    }
  }

  [[nodiscard]] int runs() const { return runs_; }

 private:
  std::function<void()> called_;
  ModelInfo info_;
  mutable int runs_ = 0;
};

// One shard of four documents of 20, 25, 30 and 35 tokens, all held out, in contexts of 32 with BOS
// 0; times as often: more of the same lengths.
class MovedStreamCorpus {
 public:
  explicit MovedStreamCorpus(const std::string& name, std::uint32_t times = 1)
      : folder_(fs::path(testing::TempDir()) / fmt::format("{}_{}", name, ::getpid())),
        corpus_(std::vector<std::uint8_t>(MovedStream::kVocabulary, 0), 2) {
    fs::remove_all(folder_);
    make_folder(folder_);
    write_corpus(4 * times);
    write_heldout();
    HookCalibration& input = calibration_.hooks.emplace_back();
    input.hook = MovedStream::kInput;
    input.d_in = MovedStream::kInputDim;
    input.sink_threshold = 1e9;
    HookCalibration& hook = calibration_.hooks.emplace_back();
    hook.hook = MovedStream::kHook;
    hook.d_in = MovedStream::kDim;
    hook.sink_threshold = 1e9;
    hook.mean.assign(MovedStream::kDim, 2);
    hook.geometric_median.assign(MovedStream::kDim, 2);
    hook.covariance.assign(MovedStream::kDim * MovedStream::kDim, 0);
    for (std::size_t d = 0; d < MovedStream::kDim; ++d)
      hook.covariance[d * MovedStream::kDim + d] = 1 + 0.1 * static_cast<double>(d);
  }
  ~MovedStreamCorpus() { fs::remove_all(folder_); }
  MovedStreamCorpus(const MovedStreamCorpus&) = delete;

  [[nodiscard]] TokenCorpus& corpus() { return corpus_; }
  [[nodiscard]] std::size_t contexts() const { return contexts_; }
  [[nodiscard]] const ChunkReader& heldout() const { return *heldout_; }
  [[nodiscard]] CalibrationData& calibration() { return calibration_; }
  [[nodiscard]] HookCalibration& input_hook() { return calibration_.hooks.front(); }
  [[nodiscard]] HookCalibration& hook() { return calibration_.hooks.back(); }

 private:
  void write_corpus(std::uint32_t count) {
    const CounterRng rng(Purpose::test, {77});
    std::vector<std::vector<std::uint32_t>> documents(count);
    std::uint64_t drawn = 0;
    for (std::uint32_t d = 0; d < count; ++d)
      for (std::uint32_t i = 0; i < 20 + 5 * (d % 4); ++i)
        documents[d].push_back(1 + static_cast<std::uint32_t>(rng.below(drawn++, 99)));
    const TokenShardData shard = shard_of_ids(MovedStream::kVocabulary, documents);
    (void)write_token_shard(folder_ / "tokens.h5", shard, {});
    const ContextTableData table =
        build_contexts({.length = 32, .bos_id = 0}, shard.document_token_starts,
                       std::vector<std::uint8_t>(count, 1), std::vector<std::uint8_t>(count, 1));
    contexts_ = table.contexts();
    (void)write_contexts(folder_ / "contexts.h5", table, {});
    corpus_.add_shard({folder_ / "tokens.h5", folder_ / "contexts.h5"});
  }

  void write_heldout() {
    RowIdentity identity;
    for (std::size_t context = 0; context < contexts_; ++context) {
      const ContextInput input = corpus_.input(context);
      for (std::size_t slot = 0; slot < input.ids.size(); ++slot)
        identity.append(input.slots, slot);
    }
    ChunkSpec spec;
    spec.permuted = false;
    spec.rows = spec.block_rows = identity.size();
    spec.hooks = {{MovedStream::kInput, MovedStream::kInputDim},
                  {MovedStream::kHook, MovedStream::kDim}};
    std::vector<float> input, activations;
    for (const std::uint32_t token : identity.token) {
      const std::vector<float> row = MovedStream::stream_of(token),
                               read = MovedStream::input_of(token);
      activations.insert(activations.end(), row.begin(), row.end());
      input.insert(input.end(), read.begin(), read.end());
    }
    const std::vector<std::uint8_t> sinks(identity.size(), 0);
    const HookRows rows[] = {{input, sinks}, {activations, sinks}};
    Communicator one = Communicator::loopback();
    ChunkWriter writer = ChunkWriter::collective_open(folder_ / "heldout.h5", spec, one);
    writer.write_block(0, identity, rows);
    (void)writer.collective_seal();
    heldout_.emplace(folder_ / "heldout.h5");
  }

  fs::path folder_;
  TokenCorpus corpus_;
  std::size_t contexts_ = 0;
  std::optional<ChunkReader> heldout_;
  CalibrationData calibration_;
};

}  // namespace refract::test
