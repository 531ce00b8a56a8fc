#include "refract/stages/train.hpp"

#include <algorithm>
#include <map>
#include <set>

#include "refract/base/error.hpp"
#include "refract/base/finite.hpp"
#include "refract/base/parallel.hpp"

namespace refract {
namespace {

// This rank's blocks of a chunk at one hook, scaled, with the rows that take part marked. Kept in
// memory for all passes when it fits train.cache_bytes, else each slice is read when its batch
// comes.
class HookRowsOfRank {
 public:
  HookRowsOfRank(const ChunkReader& chunk, const std::string& hook, double scale, Share rows,
                 std::uint64_t cache_bytes)
      : chunk_(chunk),
        hook_(chunk.hook_index(hook)),
        d_(chunk.spec().hooks[hook_].d_in),
        scale_(static_cast<float>(scale)),
        rows_(rows),
        cached_(rows.count * d_ * sizeof(float) <= cache_bytes) {
    const std::vector<std::uint8_t> excluded = chunk.read_excluded(hook_, rows.first, rows.count);
    included_.resize(excluded.size());
    for (std::size_t i = 0; i < excluded.size(); ++i) included_[i] = excluded[i] ? 0 : 1;
    if (!cached_) return;
    cache_ = Tensor<float>(Shape{rows.count, d_});
    constexpr std::uint64_t kPieceRows = 4096;  // at least 1 MiB from d_in = 128 on
    parallel_for((rows.count + kPieceRows - 1) / kPieceRows, [&](std::size_t piece) {
      const std::uint64_t first = piece * kPieceRows,
                          count = std::min(kPieceRows, rows.count - first);
      read(first, count, cache_.data() + first * d_);
    });
  }
  [[nodiscard]] std::size_t d_in() const { return d_; }
  [[nodiscard]] std::uint64_t included() const {
    return static_cast<std::uint64_t>(std::ranges::count(included_, std::uint8_t{1}));
  }

  // Rows [first, first + count) of this rank's part.
  void copy(std::uint64_t first, std::uint64_t count, float* x, std::uint8_t* included) const {
    std::copy_n(included_.data() + first, count, included);
    if (cached_)
      std::copy_n(cache_.data() + first * d_, count * d_, x);
    else
      read(first, count, x);
  }

 private:
  void read(std::uint64_t first, std::uint64_t count, float* to) const {
    const std::span<float> x(to, count * d_);
    chunk_.read_rows(hook_, rows_.first + first, count, x);
    for (float& value : x) value *= scale_;
    if (const std::size_t at = first_not_finite(x); at != x.size())
      throw NumericalError(
          "{}: {} in column {} of row {} is {} after scaling by {}. Extraction stores finite "
          "numbers alone: check the file with `refract probe --verify`, and if it is whole set "
          "normalize: none for this hook's SAEs.",
          chunk_.path().string(), chunk_.spec().hooks[hook_].name, at % d_,
          rows_.first + first + at / d_, x[at], scale_);
  }

  const ChunkReader& chunk_;
  std::size_t hook_;
  std::uint64_t d_;
  float scale_;
  Share rows_;
  bool cached_;
  std::vector<std::uint8_t> included_;
  Tensor<float> cache_;
};

// What SAEs share: a hook and what its activations are multiplied by.
using Input = std::pair<std::string, double>;
Input input_of(const TrainedSae& sae) { return {only_hook(sae.config), sae.input_scale}; }

void collective_expect_included(const HookRowsOfRank& mine, const std::string& hook,
                                const ChunkReader& chunk, Communicator& ranks) {
  std::uint64_t included = mine.included();
  ranks.all_reduce_sum(std::span(&included, 1));
  if (included == 0)
    throw NumericalError(
        "{}: all {} rows of {} are excluded (BOS, padding, special tokens, or norms above the "
        "calibrated sink threshold), so there is nothing to train on. Raise rows.sink_ratio, or "
        "take other rows with rows.take, in a new run folder.",
        chunk.path().string(), chunk.rows(), hook);
}

}  // namespace

std::uint64_t collective_train_chunk(std::vector<TrainedSae>& saes, const ChunkReader& chunk,
                                     const ChunkVisit& visit, const SampleOrder& order,
                                     const TrainConfig& config, StepRunner& runner,
                                     Communicator& ranks,
                                     const std::function<bool(std::uint64_t)>& after_step) {
  const std::uint64_t slice_rows = order.rule().slice_rows();
  const Share blocks = share_of(order.rule().blocks(), ranks.rank(), ranks.size());
  const Share rows{blocks.first * visit.shape.block_rows, blocks.count * visit.shape.block_rows};
  std::set<Input> inputs;
  std::map<Input, HookRowsOfRank> hooks;
  for (const TrainedSae& sae : saes) inputs.insert(input_of(sae));
  for (const Input& input : inputs)
    hooks.try_emplace(input, chunk, input.first, input.second, rows,
                      config.cache_bytes / inputs.size());
  for (const auto& [input, part] : hooks)
    collective_expect_included(part, input.first, chunk, ranks);

  std::map<Input, Tensor<float>> x;
  for (const auto& [hook, part] : hooks)
    x.emplace(hook, Tensor<float>(Shape{blocks.count * slice_rows, part.d_in()}));
  std::map<Input, std::vector<std::uint8_t>> included;

  std::uint64_t done = visit.steps_done;
  std::vector<std::vector<std::uint32_t>> slices(blocks.count);
  for (std::uint64_t pass = done / visit.shape.batches; pass < config.passes_per_chunk; ++pass) {
    const std::uint64_t pass_of_corpus = visit.corpus_pass * config.passes_per_chunk + pass;
    for (std::uint64_t b = 0; b < blocks.count; ++b)
      slices[b] = order.slice_order(visit.shape, blocks.first + b, pass_of_corpus);
    for (std::uint64_t i = done - pass * visit.shape.batches; i < visit.shape.batches; ++i) {
      for (const auto& [hook, part] : hooks) {
        Tensor<float>& to = x.at(hook);
        std::vector<std::uint8_t>& flags = included[hook];
        flags.resize(to.axis(0));
        parallel_for(blocks.count, [&](std::size_t b) {
          const std::uint64_t row = b * visit.shape.block_rows + slices[b][i] * slice_rows;
          part.copy(row, slice_rows, to.data() + b * slice_rows * part.d_in(),
                    flags.data() + b * slice_rows);
        });
      }
      for (TrainedSae& sae : saes) {
        const Batch batch{.x = x.at(input_of(sae)).cview(),
                          .included = included.at(input_of(sae)),
                          .first_row = blocks.first * slice_rows,
                          .rows = config.batch_rows,
                          .slice_rows = slice_rows,
                          .first_pass = pass_of_corpus == 0};
        sae.log.add(runner.collective_step(sae, batch));
      }
      ++done;
      if (!after_step(done)) return done;
    }
  }
  return done;
}

}  // namespace refract
