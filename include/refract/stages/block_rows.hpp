#pragma once
// One block of rows, from its plan to identity and activations: the unit that extraction writes,
// that a resumed run recomputes and that `probe --verify` checks. Bytes are a function of the plan,
// the model and the machine.
#include <cstdint>
#include <vector>

#include "refract/lm/language_model.hpp"
#include "refract/order/row_rule.hpp"
#include "refract/order/sample_order.hpp"
#include "refract/stages/token_corpus.hpp"
#include "refract/store/chunk.hpp"

namespace refract {

// Rows in stored order; each names a slot of one of the contexts.
struct BlockPlan {
  struct Row {
    std::uint32_t context = 0;  // index into contexts
    std::uint32_t slot = 0;
  };
  std::vector<std::uint64_t> contexts;  // keys, in the order they are run
  std::vector<Row> rows;
};

// The plan of a chunk's block: its contexts' selected rows in sequence order, then permuted (SPEC
// 2).
[[nodiscard]] BlockPlan plan_block(const SampleOrder& order, const ChunkShape& chunk,
                                   std::uint64_t block, TokenCorpus& corpus, const RowRule& rule);

[[nodiscard]] RowIdentity identity_of(const BlockPlan& plan, TokenCorpus& corpus);

// Contexts of a block run through the model in calls of at most this many tokens (at least one
// context).
inline constexpr std::size_t kForwardTokens = 4096;

struct BlockRows {
  RowIdentity identity;
  std::vector<Tensor<float>> activations;        // per hook [n, D]; padding rows are zero
  std::vector<std::vector<std::uint8_t>> sinks;  // per hook [n]
  std::uint64_t tokens = 0;                      // run through the model for it
};

// As a chunk is written from them; borrowed.
[[nodiscard]] std::vector<HookRows> hook_rows(const BlockRows& rows);

class BlockComputer {
 public:
  // sink_thresholds: per hook, L2 norm above which a row is a sink; empty while calibrating.
  // stored: what the rows are stored as.
  BlockComputer(const LanguageModel& model, std::vector<HookPoint> hooks, TokenCorpus& corpus,
                std::vector<double> sink_thresholds = {}, DType stored = DType::f32);
  // The bytes depend on the plan alone: a token's values do not depend on what shares its call (the
  // GEMM's start-up self-test). So the last context is kept, because the next block of a chunk
  // often begins with the rest of it. NumericalError naming hook, token, position and document when
  // a row holds a value that is not finite, or that `stored` cannot hold.
  [[nodiscard]] BlockRows compute(const BlockPlan& plan, Stream& stream);

 private:
  const LanguageModel& model_;
  std::vector<HookPoint> hooks_;
  TokenCorpus& corpus_;
  std::vector<double> sink_thresholds_;
  DType stored_;
  std::uint64_t last_context_ = 0;
  std::vector<Tensor<float>>
      last_values_;  // per hook [tokens of that context, D]; empty before the first
};

}  // namespace refract
