#include "refract/stages/block_rows.hpp"

#include <algorithm>
#include <cmath>

#include "refract/base/error.hpp"
#include "refract/base/finite.hpp"
#include "refract/base/parallel.hpp"
#include "refract/store/calibration.hpp"
#include "refract/tensor/dot.hpp"

namespace refract {

BlockPlan plan_block(const SampleOrder& order, const ChunkShape& chunk, std::uint64_t block,
                     TokenCorpus& corpus, const RowRule& rule) {
  BlockPlan plan;
  std::vector<BlockPlan::Row> sequence;
  for (const WindowRange& range : order.block_ranges(chunk, block))
    for (const ContextPart& part : corpus.parts(range)) {
      const std::vector<std::uint32_t> slots =
          corpus.slots(part.context, rule, order.rule().store_seed);
      const auto index = static_cast<std::uint32_t>(plan.contexts.size());
      plan.contexts.push_back(part.context);
      for (std::uint32_t i = 0; i < part.count; ++i)
        sequence.push_back({index, slots.at(part.first + i)});
    }
  plan.rows.reserve(sequence.size());
  for (const std::uint32_t i : order.block_permutation(chunk, block))
    plan.rows.push_back(sequence[i]);
  return plan;
}

RowIdentity identity_of(const BlockPlan& plan, TokenCorpus& corpus) {
  std::vector<ContextInput> inputs;
  for (const std::uint64_t key : plan.contexts) inputs.push_back(corpus.input(key));
  RowIdentity identity;
  for (const BlockPlan::Row& row : plan.rows) identity.append(inputs[row.context].slots, row.slot);
  return identity;
}

namespace {

struct Copy {
  std::uint32_t token, row;  // token of a call (or of a context) -> row of the block
};

// Of each context: which of its slots the block's rows are.
std::vector<std::vector<Copy>> copies_of_contexts(const BlockPlan& plan) {
  std::vector<std::vector<Copy>> wanted(plan.contexts.size());
  for (std::uint32_t r = 0; r < plan.rows.size(); ++r)
    wanted[plan.rows[r].context].push_back({plan.rows[r].slot, r});
  return wanted;
}

// One forward call over some of a block's contexts.
struct Call {
  std::vector<std::uint32_t> ids, positions, segment_starts;
  std::vector<Copy> copies;
};

// Contexts from `first` on. The block's last context ends the last call.
std::vector<Call> make_calls(const std::vector<ContextInput>& inputs,
                             const std::vector<std::vector<Copy>>& wanted, std::size_t first) {
  std::vector<Call> calls;
  for (std::size_t c = first; c < inputs.size(); ++c) {
    if (calls.empty() || calls.back().ids.size() + inputs[c].ids.size() > kForwardTokens)
      calls.emplace_back();
    Call& call = calls.back();
    const auto base = static_cast<std::uint32_t>(call.ids.size());
    // Slots are filled from the front without holes, so a slot is also the token's index in the
    // context.
    for (const Copy& copy : wanted[c])
      if (copy.token < inputs[c].ids.size()) call.copies.push_back({base + copy.token, copy.row});
    call.ids.insert(call.ids.end(), inputs[c].ids.begin(), inputs[c].ids.end());
    call.positions.insert(call.positions.end(), inputs[c].positions.begin(),
                          inputs[c].positions.end());
    for (std::size_t s = 0; s + 1 < inputs[c].segment_starts.size(); ++s)
      call.segment_starts.push_back(base + inputs[c].segment_starts[s]);
  }
  for (Call& call : calls)
    call.segment_starts.push_back(static_cast<std::uint32_t>(call.ids.size()));
  return calls;
}

class Capture final : public Tap {
 public:
  Capture(const std::vector<HookPoint>& hooks, std::vector<Tensor<float>>& out)
      : hooks_(hooks), out_(out) {}
  // The call's last keep_tokens tokens are also kept whole, in kept[hook].
  void set_call(const Call& call, std::size_t keep_tokens, std::vector<Tensor<float>>* kept) {
    call_ = &call;
    keep_tokens_ = keep_tokens;
    kept_ = kept;
  }
  void at(HookPoint hook, TensorView<float> values, Stream&) override {
    for (std::size_t h = 0; h < hooks_.size(); ++h) {
      if (hooks_[h] != hook) continue;
      for (const Copy& copy : call_->copies)
        std::ranges::copy(values.row(copy.token), out_[h].row(copy.row).begin());
      if (!kept_) continue;
      (*kept_)[h] = Tensor<float>(Shape{keep_tokens_, values.axis(1)});
      std::ranges::copy(values.rows(values.axis(0) - keep_tokens_, keep_tokens_).span(),
                        (*kept_)[h].data());
    }
  }

 private:
  const std::vector<HookPoint>& hooks_;
  std::vector<Tensor<float>>& out_;
  const Call* call_ = nullptr;
  std::size_t keep_tokens_ = 0;
  std::vector<Tensor<float>>* kept_ = nullptr;
};

// "token 622 at position 3 of its context, in document "Anarchism" (page 12)"
std::string place_of(const RowIdentity& identity, std::size_t row, TokenCorpus& corpus) {
  const auto shard = static_cast<std::uint32_t>(identity.document[row] >> 32);
  const std::uint64_t document = identity.document[row] & 0xFFFFFFFFu;
  const TokenShard& tokens = corpus.tokens(shard);
  return fmt::format("token {} at position {} of its context, in document \"{}\" (page {})",
                     identity.token[row], identity.position[row], tokens.title(document),
                     tokens.page_id(document));
}

void expect_finite(HookPoint hook, const Tensor<float>& activations, DType stored,
                   const RowIdentity& identity, TokenCorpus& corpus) {
  const std::size_t at = first_not_finite(activations.span(), stored);
  if (at == activations.size()) return;
  const float value = activations.data()[at];
  const std::string place = place_of(identity, at / activations.axis(1), corpus);
  if (std::isfinite(value))
    throw NumericalError(
        "{} is {} in column {} for {}: finite, but {} rounds it to infinity. Set store.dtype: "
        "fp32.",
        name(hook), value, at % activations.axis(1), place, name(stored));
  throw NumericalError(
      "{} is {} in column {} for {}: the model's weights are finite, its values overflow fp32 "
      "there. Take a hook point of an earlier layer, or another model.",
      name(hook), value, at % activations.axis(1), place);
}

}  // namespace

BlockComputer::BlockComputer(const LanguageModel& model, std::vector<HookPoint> hooks,
                             TokenCorpus& corpus, std::vector<double> sink_thresholds, DType stored)
    : model_(model),
      hooks_(std::move(hooks)),
      corpus_(corpus),
      sink_thresholds_(std::move(sink_thresholds)),
      stored_(stored) {
  for (const HookPoint hook : hooks_) model_.require(hook);
}

BlockRows BlockComputer::compute(const BlockPlan& plan, Stream& stream) {
  std::vector<ContextInput> inputs;
  for (const std::uint64_t key : plan.contexts) inputs.push_back(corpus_.input(key));
  BlockRows out;
  for (const BlockPlan::Row& row : plan.rows)
    out.identity.append(inputs[row.context].slots, row.slot);
  int last_layer = 0;
  for (const HookPoint hook : hooks_) {
    out.activations.emplace_back(Shape{plan.rows.size(), model_.info().d_model});
    last_layer = std::max(last_layer, hook.layer);
  }
  const std::vector<std::vector<Copy>> wanted = copies_of_contexts(plan);
  const bool known =
      !plan.contexts.empty() && last_context_ == plan.contexts.front() && !last_values_.empty();
  for (std::size_t h = 0; known && h < hooks_.size(); ++h)
    for (const Copy& copy : wanted.front())
      if (copy.token < last_values_[h].axis(0))
        std::ranges::copy(last_values_[h].cview().row(copy.token),
                          out.activations[h].row(copy.row).begin());
  Capture capture(hooks_, out.activations);
  const std::vector<Call> calls = make_calls(inputs, wanted, known ? 1 : 0);
  if (!calls.empty()) {
    last_context_ = plan.contexts.back();
    last_values_ = std::vector<Tensor<float>>(hooks_.size());
  }
  for (const Call& call : calls) {
    const bool last = &call == &calls.back();
    capture.set_call(call, inputs.back().ids.size(), last ? &last_values_ : nullptr);
    model_.forward({call.ids, call.positions, call.segment_starts}, last_layer, capture, stream);
    out.tokens += call.ids.size();
  }
  for (std::size_t h = 0; h < hooks_.size(); ++h) {
    expect_finite(hooks_[h], out.activations[h], stored_, out.identity, corpus_);
    std::vector<std::uint8_t> sinks(plan.rows.size(), 0);
    if (!sink_thresholds_.empty())
      parallel_for(plan.rows.size(), [&](std::size_t r) {
        const bool sink = is_sink(norm_of(out.activations[h].row(r)), sink_thresholds_[h]);
        sinks[r] = sink ? kExcludedSink : 0;
      });
    out.sinks.push_back(std::move(sinks));
  }
  return out;
}

std::vector<HookRows> hook_rows(const BlockRows& rows) {
  std::vector<HookRows> hooks;
  for (std::size_t h = 0; h < rows.activations.size(); ++h)
    hooks.push_back({rows.activations[h].span(), rows.sinks[h]});
  return hooks;
}

}  // namespace refract
