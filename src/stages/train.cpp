#include "refract/stages/train.hpp"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "refract/base/error.hpp"
#include "refract/base/finite.hpp"
#include "refract/base/parallel.hpp"
#include "refract/ops/gather_rows.hpp"
#include "refract/sae/initialise.hpp"
#include "refract/sae/trainer_state.hpp"

namespace refract {
namespace {

constexpr std::size_t kLookedAt = 1024;     // rows, for what is not finite
constexpr std::uint64_t kPieceRows = 4096;  // at least 1 MiB from d_in = 128 on, as bf16

using Normalisers = std::map<std::string, SharedNormaliser>;  // by word

// This rank's blocks of a chunk at one hook, on the device as they are stored, and which rows take
// part: all of them for all passes, or the rows of one batch at a time.
class HookRowsOfRank {
 public:
  // normalisers: what SAEs make of the hook, by their words, for what they could not take.
  // batch_rows: 0: all rows are kept.
  HookRowsOfRank(const ChunkReader& chunk, const std::string& hook, Normalisers normalisers,
                 Share rows, std::uint64_t batch_rows, Stream& stream)
      : chunk_(chunk),
        hook_(chunk.hook_index(hook)),
        d_(chunk.spec().hooks[hook_].d_in),
        row_bytes_(d_ * byte_size(chunk.spec().dtype)),
        normalisers_(std::move(normalisers)),
        rows_(rows),
        cached_(batch_rows == 0) {
    const std::vector<std::uint8_t> excluded = chunk.read_excluded(hook_, rows.first, rows.count);
    host_included_.resize(excluded.size());
    for (std::size_t i = 0; i < excluded.size(); ++i) host_included_[i] = excluded[i] ? 0 : 1;
    const Device device = stream.device();
    stored_ = Tensor<std::byte>(Shape{cached_ ? rows.count : batch_rows, row_bytes_}, device);
    staged_ = Tensor<std::byte>(
        Shape{cached_ ? std::min<std::uint64_t>(kPieceRows, rows.count) : batch_rows, row_bytes_});
    included_ = Tensor<std::uint8_t>(Shape{cached_ ? rows.count : batch_rows}, device);
    if (!cached_) return;
    copy_tensor(TensorView<const std::uint8_t>(host_included_.data(), Shape{rows.count}),
                included_.view(), stream);
    for (std::uint64_t first = 0; first < rows.count; first += kPieceRows)
      load(first, std::min(kPieceRows, rows.count - first), first, stream);
    staged_ = {};
  }

  [[nodiscard]] std::span<const std::uint8_t> included() const { return host_included_; }
  [[nodiscard]] StoredRows stored() const { return {stored_.cview(), chunk_.spec().dtype, d_}; }
  [[nodiscard]] TensorView<const std::uint8_t> flags() const { return included_.cview(); }

  // Where they are not kept: the slices of a batch, from the given rows on, become rows 0, 1, ...
  void read(std::span<const std::uint32_t> first_rows, std::uint64_t slice_rows, Stream& stream) {
    stream.synchronize();  // what was staged is on its way no more
    for (std::size_t slice = 0; slice < first_rows.size(); ++slice) {
      load(first_rows[slice], slice_rows, slice * slice_rows, stream);
      copy_tensor(TensorView<const std::uint8_t>(host_included_.data() + first_rows[slice],
                                                 Shape{slice_rows}),
                  included_.view().rows(slice * slice_rows, slice_rows), stream);
    }
  }

 private:
  // Rows [first, first + count) of this rank's part, to row `to` on the device.
  void load(std::uint64_t first, std::uint64_t count, std::uint64_t to, Stream& stream) {
    const std::size_t at = cached_ ? 0 : to;
    const TensorView<std::byte> some = staged_.view().rows(at, count);
    chunk_.read_stored(hook_, rows_.first + first, count, some.span());
    expect_finite(some, first);
    copy_tensor(some, stored_.view().rows(to, count), stream);
    if (cached_) stream.synchronize();
  }

  void expect_finite(TensorView<std::byte> rows, std::uint64_t first) const {
    const std::size_t count = rows.axis(0), at_a_time = std::min<std::size_t>(kLookedAt, count);
    std::vector<std::uint32_t> numbers(at_a_time);
    std::iota(numbers.begin(), numbers.end(), 0U);
    Stream host;
    Tensor<float> u(Shape{at_a_time, d_});
    for (const auto& [word, normaliser] : normalisers_) {
      const std::unique_ptr<RowNormaliser> on_host = normaliser->on({});
      for (std::size_t from = 0; from < count; from += at_a_time) {
        const std::size_t size = std::min(at_a_time, count - from);
        const TensorView<float> some = u.view().rows(0, size);
        on_host->gather({rows.rows(from, size), chunk_.spec().dtype, d_},
                        TensorView<const std::uint32_t>(numbers.data(), Shape{size}), 0, some,
                        host);
        const std::size_t at = first_not_finite_of(some);
        if (at == some.size()) continue;
        throw NumericalError(
            "{}: {} in column {} of row {} is {} after normalize: {}. Extraction stores finite "
            "numbers alone: check the file with `refract probe --verify`, and if it is whole set "
            "normalize: none for this hook's SAEs.",
            chunk_.path().string(), chunk_.spec().hooks[hook_].name, at % d_,
            rows_.first + first + from + at / d_, some.data()[at], word);
      }
    }
  }

  // The first of all that is not, by all threads; the size where there is none.
  [[nodiscard]] static std::size_t first_not_finite_of(TensorView<const float> rows) {
    constexpr std::size_t kRows = 64;
    const std::size_t n = rows.axis(0);
    std::vector<std::size_t> found((n + kRows - 1) / kRows, rows.size());
    parallel_for(found.size(), [&](std::size_t item) {
      const TensorView<const float> some =
          rows.rows(item * kRows, std::min(kRows, n - item * kRows));
      const std::size_t at = first_not_finite(some.span());
      if (at != some.size()) found[item] = item * kRows * rows.axis(1) + at;
    });
    return found.empty() ? rows.size() : *std::ranges::min_element(found);
  }

  const ChunkReader& chunk_;
  std::size_t hook_;
  std::uint64_t d_, row_bytes_;
  Normalisers normalisers_;
  Share rows_;
  bool cached_;
  std::vector<std::uint8_t> host_included_;
  Tensor<std::byte> stored_, staged_;
  Tensor<std::uint8_t> included_;
};

using Parts = std::vector<NormalisedHook>;
struct PartsOrder {
  bool operator()(const Parts& a, const Parts& b) const {
    return std::ranges::lexicographical_compare(
        a, b, [](const auto& one, const auto& two) { return one.key() < two.key(); });
  }
};

std::set<std::string> hooks_of(const TrainedSae& sae) {
  std::set<std::string> names;
  for (const Parts* parts : {&sae.input.parts, &sae.target.parts})
    for (const NormalisedHook& part : *parts) names.insert(part.hook);
  return names;
}

// The rows of one step on this rank's tile: of each input or target that an SAE has, and of each
// set of hooks which rows all of them include.
class BatchOfTile {
 public:
  BatchOfTile(const std::vector<TrainedSae>& saes, const ChunkReader& chunk,
              const ChunkVisit& visit, std::uint64_t blocks, std::uint64_t slice_rows,
              const TrainConfig& config, StepRunner& runner)
      : mesh_(runner.mesh()),
        stream_(runner.stream()),
        slice_rows_(slice_rows),
        blocks_(blocks),
        read_(mesh_.read_of(blocks)),
        tile_(mesh_.rows_of(blocks)) {
    std::map<std::string, Normalisers> by_hook;
    for (const TrainedSae& sae : saes) {
      for (const Parts* parts : {&sae.input.parts, &sae.target.parts}) {
        for (const NormalisedHook& part : *parts) {
          by_hook[part.hook].emplace(part.normalize, part.normaliser);
          if (auto& made = normalisers_[{part.hook, part.normalize}]; !made)
            made = part.normaliser->on(device());
        }
        rows_.emplace(*parts, Tensor<float>(Shape{tile_rows(), width_of(*parts)}, device()));
      }
      included_.emplace(hooks_of(sae), Tensor<std::uint8_t>(Shape{tile_rows()}, device()));
    }
    const Share rows{read_.first * visit.shape.block_rows, read_.count * visit.shape.block_rows};
    // All hooks or none: a batch takes the same rows of each.
    std::uint64_t bytes = 0;
    for (const auto& [hook, some] : by_hook)
      bytes += rows.count * chunk.spec().hooks[chunk.hook_index(hook)].d_in *
               byte_size(chunk.spec().dtype);
    cached_ = bytes <= config.cache_bytes;
    for (const auto& [hook, some] : by_hook)
      hooks_.try_emplace(hook, chunk, hook, some, rows, cached_ ? 0 : read_.count * slice_rows,
                         stream_);
    numbers_.resize(read_.count * slice_rows);
    first_rows_.resize(read_.count);
    device_numbers_ = Tensor<std::uint32_t>(Shape{numbers_.size()}, device());
  }

  void collective_expect_included(const ChunkReader& chunk) {
    for (const auto& [hooks, flags] : included_) {
      std::uint64_t count = 0;
      std::vector<const HookRowsOfRank*> parts;
      for (const std::string& hook : hooks) parts.push_back(&hooks_.at(hook));
      for (std::size_t i = 0; i < parts.front()->included().size(); ++i)
        count += std::ranges::all_of(parts, [&](auto* part) { return part->included()[i] != 0; });
      mesh_.ranks().all_reduce_sum(std::span(&count, 1));
      if (count == 0)
        throw NumericalError(
            "{}: all {} rows of {} are excluded (BOS, padding, special tokens, or norms above the "
            "calibrated sink threshold), so there is nothing to train on. Raise rows.sink_ratio, "
            "or take other rows with rows.take, in a new run folder.",
            chunk.path().string(), chunk.rows(), fmt::format("{}", fmt::join(hooks, "+")));
    }
  }

  // slices[b]: the one of this rank's block b that the batch takes.
  void collective_assemble(const ChunkVisit& visit,
                           const std::vector<std::vector<std::uint32_t>>& slices,
                           std::uint64_t batch) {
    for (std::size_t b = 0; b < read_.count; ++b) {
      first_rows_[b] =
          static_cast<std::uint32_t>(b * visit.shape.block_rows + slices[b][batch] * slice_rows_);
      for (std::size_t i = 0; i < slice_rows_; ++i)
        numbers_[b * slice_rows_ + i] =
            static_cast<std::uint32_t>(cached_ ? first_rows_[b] + i : b * slice_rows_ + i);
    }
    if (!cached_)
      for (auto& [name, hook] : hooks_) hook.read(first_rows_, slice_rows_, stream_);
    copy_tensor(TensorView<const std::uint32_t>(numbers_.data(), Shape{numbers_.size()}),
                device_numbers_.view(), stream_);
    const std::size_t own_first = (read_.first - tile_.first) * slice_rows_;
    const TensorView<const std::uint32_t> numbers = device_numbers_.cview();
    for (auto& [parts, x] : rows_) {
      std::size_t column = 0;
      for (const NormalisedHook& part : parts) {
        normalisers_.at({part.hook, part.normalize})
            ->gather(hooks_.at(part.hook).stored(), numbers, column,
                     x.view().rows(own_first, numbers.size()), stream_);
        column += part.width;
      }
      if (mesh_.shape().features > 1)
        mesh_.along_row().all_gather(x.view(), mesh_.parts_of_row(blocks_, slice_rows_ * x.axis(1)),
                                     stream_);
    }
    for (auto& [hooks, flags] : included_) {
      bool narrow = false;
      for (const std::string& hook : hooks) {
        gather_flags(hooks_.at(hook).flags(), numbers, std::exchange(narrow, true),
                     flags.view().rows(own_first, numbers.size()), stream_);
      }
      if (mesh_.shape().features > 1)
        mesh_.along_row().all_gather(flags.view(), mesh_.parts_of_row(blocks_, slice_rows_),
                                     stream_);
    }
  }

  [[nodiscard]] Batch of(const TrainedSae& sae, std::uint64_t batch_rows, bool first_pass) const {
    return {.x = rows_.at(sae.input.parts).cview(),
            .target = rows_.at(sae.target.parts).cview(),
            .included = included_.at(hooks_of(sae)).cview(),
            .first_row = tile_.first * slice_rows_,
            .rows = batch_rows,
            .slice_rows = slice_rows_,
            .first_pass = first_pass};
  }
  [[nodiscard]] Share read() const { return read_; }

 private:
  [[nodiscard]] Device device() const { return mesh_.device(); }
  [[nodiscard]] std::size_t tile_rows() const { return tile_.count * slice_rows_; }

  Mesh& mesh_;
  Stream& stream_;
  std::uint64_t slice_rows_, blocks_;
  Share read_, tile_;
  bool cached_ = false;
  std::map<std::string, HookRowsOfRank> hooks_;
  std::map<std::pair<std::string, std::string>, std::unique_ptr<RowNormaliser>> normalisers_;
  std::map<Parts, Tensor<float>, PartsOrder> rows_;
  std::map<std::set<std::string>, Tensor<std::uint8_t>> included_;
  std::vector<std::uint32_t> numbers_, first_rows_;
  Tensor<std::uint32_t> device_numbers_;
};

}  // namespace

std::uint64_t dead_threshold(std::uint64_t chunk_rows, std::uint64_t train_rows) {
  return std::max(2 * chunk_rows, std::min<std::uint64_t>(10'000'000, train_rows / 10));
}

std::string weights_digest(const TrainedSae& sae) {
  return sae.weights_digest.empty() ? weights_digest(sae.state.parameters) : sae.weights_digest;
}

std::vector<TrainedSae> make_trained_saes(const std::vector<SaeConfig>& saes,
                                          const CalibrationData& calibration,
                                          std::uint64_t dead_after_rows, StepRunner* runner) {
  std::vector<TrainedSae> out;
  for (const SaeConfig& config : saes) {
    TrainedSae& sae = out.emplace_back();
    sae.config = config;
    sae.input = normalised_input(config, calibration);
    sae.target = normalised_target(config, calibration);
    sae.variant = make_variant(config, sae.input.width(), dead_after_rows);
    sae.state =
        initial_state(config, *sae.variant, sae.input.width(), first_b_dec(config, sae.target));
    if (runner) runner->take_tile(sae);
  }
  return out;
}

std::uint64_t collective_train_chunk(std::vector<TrainedSae>& saes, const ChunkReader& chunk,
                                     const ChunkVisit& visit, const SampleOrder& order,
                                     const TrainConfig& config, StepRunner& runner,
                                     const std::function<bool(std::uint64_t)>& after_step) {
  BatchOfTile rows(saes, chunk, visit, order.rule().blocks(), order.rule().slice_rows(), config,
                   runner);
  rows.collective_expect_included(chunk);
  const Share blocks = rows.read();
  std::uint64_t done = visit.steps_done;
  std::vector<std::vector<std::uint32_t>> slices(blocks.count);
  bool goes_on = true;
  for (std::uint64_t pass = done / visit.shape.batches; goes_on && pass < config.passes_per_chunk;
       ++pass) {
    const std::uint64_t pass_of_corpus = visit.corpus_pass * config.passes_per_chunk + pass;
    for (std::uint64_t b = 0; b < blocks.count; ++b)
      slices[b] = order.slice_order(visit.shape, blocks.first + b, pass_of_corpus);
    for (std::uint64_t i = done - pass * visit.shape.batches; goes_on && i < visit.shape.batches;
         ++i) {
      rows.collective_assemble(visit, slices, i);
      for (TrainedSae& sae : saes)
        runner.collective_step(sae, rows.of(sae, config.batch_rows, pass_of_corpus == 0));
      goes_on = after_step(++done);
    }
  }
  for (TrainedSae& sae : saes) runner.collective_finish(sae);
  return done;
}

}  // namespace refract
