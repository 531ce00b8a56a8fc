#pragma once
// A model whose stream is a function of token, column and place, and a corpus of one shard for it:
// what samples of a store are made from where no transformer is needed.
#include <gtest/gtest.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <vector>

#include "refract/base/file.hpp"
#include "refract/lm/language_model.hpp"
#include "refract/stages/token_corpus.hpp"
#include "support/shard_of_ids.hpp"

namespace refract::test {

class TokenStream final : public LanguageModel {
 public:
  // called: at each forward pass. Hooks: resid_post and mlp_out of layer 0.
  explicit TokenStream(std::size_t d_model, std::function<void()> called = {})
      : called_(std::move(called)) {
    info_.layers = 1;
    info_.d_model = d_model;
  }
  [[nodiscard]] const ModelInfo& info() const override { return info_; }
  void require(HookPoint) const override {}
  void forward(const PackedTokens& tokens, int, Tap& tap, Stream& stream) const override {
    if (called_) called_();
    Tensor<float> values(Shape{tokens.ids.size(), info_.d_model});
    for (const auto& [site, modulus] : {std::pair{Site::mlp_out, 7U}, {Site::resid_post, 11U}}) {
      for (std::size_t i = 0; i < tokens.ids.size(); ++i)
        for (std::size_t j = 0; j < info_.d_model; ++j)
          values.row(i)[j] = static_cast<float>((tokens.ids[i] + 1) * (j + 1) % modulus) * 0.3F + 1;
      tap.at({0, site}, values.view(), stream);
    }
  }
  void forward_to_unembedding(const PackedTokens&, Tap&, TensorView<float>,
                              Stream&) const override {
    FAIL();
  }
  void unembed(TensorView<const float>, std::size_t, TensorView<float>, Stream&) const override {
    FAIL();
  }

 private:
  std::function<void()> called_;
  ModelInfo info_;
};

// `documents` documents of six tokens, packed into contexts of eight slots; in a folder of its own.
class SmallCorpus {
 public:
  static constexpr std::uint32_t kLength = 8;

  explicit SmallCorpus(const std::string& name, std::uint32_t documents)
      : folder_(fs::path(testing::TempDir()) / fmt::format("{}_{}", name, ::getpid())),
        corpus_(std::vector<std::uint8_t>(kVocabulary, 0), 2) {
    fs::remove_all(folder_);
    make_folder(folder_);
    std::vector<std::vector<std::uint32_t>> texts;
    for (std::uint32_t d = 0; d < documents; ++d)
      texts.push_back({d + 1, d + 2, d + 3, d + 4, d + 5, d + 6});
    const TokenShardData shard = shard_of_ids(kVocabulary, texts);
    (void)write_token_shard(folder_ / "tokens.h5", shard, {});
    const ContextTableData table = build_contexts(
        {.length = kLength, .bos_id = 0}, shard.document_token_starts,
        std::vector<std::uint8_t>(documents, 1), std::vector<std::uint8_t>(documents, 0));
    (void)write_contexts(folder_ / "contexts.h5", table, {});
    corpus_.add_shard({folder_ / "tokens.h5", folder_ / "contexts.h5"});
  }
  ~SmallCorpus() { fs::remove_all(folder_); }
  SmallCorpus(const SmallCorpus&) = delete;

  [[nodiscard]] TokenCorpus& corpus() { return corpus_; }
  // Every row of every context.

 private:
  static constexpr std::uint32_t kVocabulary = 1000;
  fs::path folder_;
  TokenCorpus corpus_;
};

}  // namespace refract::test
