// BatchTopK with AuxK (Bussmann et al. 2024, BatchTopK Sparse Autoencoders).
//
//   f = the k N largest positive pre-activations of the N included rows of the global batch; the
//   loss is TopK's threshold: exponential mean of the smallest activation selected, used at
//   inference: f = pre where pre > threshold
//
// The selection is exact and does not depend on the ranks: the k N-th largest value is found by
// counting the bits of positive floats (which order as integers) over all ranks, high half first.
// Ties at that value go to the lower row, then the lower feature.
//
//   round 0  keep candidates above a floor (half the threshold), count the high 16 bits of each
//   round 1  only when too few were kept: again without the floor
//   round 2  count the low 16 bits of candidates in the bucket that holds the k N-th
//   round 3  count its equals in each slice
//   round 4  forward with the entries selected, sums
#include <bit>
#include <cmath>

#include "refract/base/error.hpp"
#include "sae/ragged_entries.hpp"
#include "sae/reconstruction.hpp"
#include "sae/variant_table.hpp"
#include "sae/workers.hpp"

namespace refract {
namespace {

constexpr int kRounds = 5;
constexpr std::size_t kBuckets = std::size_t{1} << 16;

std::uint32_t bits_of(float value) { return std::bit_cast<std::uint32_t>(value); }
std::size_t high_half(float value) { return bits_of(value) >> 16; }
std::size_t low_half(float value) { return bits_of(value) & 0xFFFFu; }

struct BatchTopKScratch final : StepScratch {
  PanelEncoder encoder;
  RaggedEntries candidates, entries;
  ReconstructionScratch loss;
  std::vector<std::uint64_t> positives;  // [n]
  std::vector<PanelMemory> memory;
};

// Where the `rank`-th largest lies in a histogram: its bucket, and how many of the bucket are among
// them.
struct Place {
  std::size_t bucket = 0;
  std::uint64_t within = 0;
};

Place place_of(std::span<const std::uint64_t> histogram, std::uint64_t rank) {
  std::uint64_t left = rank;
  for (std::size_t bucket = histogram.size(); bucket-- > 0;) {
    if (histogram[bucket] >= left) return {bucket, left};
    left -= histogram[bucket];
  }
  REFRACT_ASSERT(false, "rank {} of a histogram without so many", rank);
  return {};
}

class BatchTopK final : public Variant {
 public:
  BatchTopK(const SaeConfig& config, std::size_t d_in, std::uint64_t dead_after_rows)
      : d_in_(d_in),
        d_sae_(config.d_sae),
        k_(config.k),
        threshold_rate_(config.threshold_rate),
        loss_(d_in, config.d_sae, config.aux, dead_after_rows) {}

  [[nodiscard]] std::string_view name() const override { return "batchtopk"; }
  [[nodiscard]] bool has_threshold() const override { return true; }
  [[nodiscard]] bool has_training_mode() const override { return true; }
  [[nodiscard]] int measure_rounds() const override { return kRounds; }
  [[nodiscard]] std::unique_ptr<StepScratch> make_scratch() const override {
    return std::make_unique<BatchTopKScratch>();
  }

  void measure(int round, const SaeState& state, const Batch& batch,
               const std::vector<GlobalStats>& so_far, StepScratch& scratch,
               Stats& stats) const override {
    auto& own = static_cast<BatchTopKScratch&>(scratch);
    switch (round) {
      case 0:
        return keep_candidates(state, batch, state.parameters.threshold.data()[0] / 2, own, stats);
      case 1:
        if (kept(so_far[0]) < wanted(so_far[0])) keep_candidates(state, batch, 0.0F, own, stats);
        return;
      case 2: return count_low_half(so_far, own, stats);
      case 3: return count_equals(batch, so_far, own, stats);
      default: return forward(state, batch, so_far, own, stats);
    }
  }

  void gradients(const SaeState&, const Batch& batch, const std::vector<GlobalStats>& global,
                 StepScratch& scratch, RowGradients& out) const override {
    auto& own = static_cast<BatchTopKScratch&>(scratch);
    loss_.fill_terms(batch, own.entries, global.at(4), 0.0F, own.loss, out);
  }

  void decoder_bias_gradient(const std::vector<GlobalStats>& global,
                             std::span<double> out) const override {
    loss_.decoder_bias_gradient(global.at(4), out);
  }

  void finish(SaeState& state, const Batch& batch, const std::vector<GlobalStats>& global,
              StepLog& log) const override {
    loss_.finish(state, batch, global.at(4), log);
    if (wanted(global[0]) == 0) return;
    const auto smallest = static_cast<double>(std::bit_cast<float>(bar_of(global).bits));
    const auto before = static_cast<double>(state.parameters.threshold.data()[0]);
    const double after = before == 0 ? smallest : before + threshold_rate_ * (smallest - before);
    std::ranges::fill(state.parameters.threshold.span(), static_cast<float>(after));
  }

  void encode(const SaeParameters& p, TensorView<const float> x, std::size_t,
              SparseActs& acts) const override {
    expect_shape(x, "x", {{"n", x.axis(0)}, {"D", d_in_}});
    PanelEncoder encoder;
    RaggedEntries entries;
    entries.reset(x.axis(0));
    encoder.pack(p);
    encoder.run(p, x, {}, [&](std::size_t row, std::span<const float> pre, PanelMemory&) {
      for (std::size_t f = 0; f < pre.size(); ++f)
        if (pre[f] > std::max(0.0F, p.threshold.data()[f]))
          entries.append(row, static_cast<std::uint32_t>(f), pre[f]);
    });
    entries.compress(acts);
  }

  void encode_training(const SaeParameters& p, TensorView<const float> x,
                       std::span<const std::uint8_t> included, std::size_t,
                       SparseActs& acts) const override {
    SaeState state;
    state.parameters = copy(p);
    state.age.assign(d_sae_, 0);
    const Batch batch{
        .x = x, .included = included, .first_row = 0, .rows = x.axis(0), .slice_rows = x.axis(0)};
    BatchTopKScratch own;
    std::vector<GlobalStats> global;
    for (int round = 0; round < kRounds; ++round) {
      Stats stats;
      measure(round, state, batch, global, own, stats);
      global.emplace_back();
      add_stats(stats, global.back());
    }
    own.entries.compress(acts);
  }

  // As SAELens folds its own BatchTopK: a JumpReLU with one threshold for all features.
  [[nodiscard]] SaeExport export_for_saelens(const SaeParameters& p,
                                             float input_scale) const override {
    SaeExport out = export_common("jumprelu", p, input_scale);
    out.tensors.push_back({"threshold", p.threshold.cview(), false, input_scale});
    return out;
  }

 private:
  // Counts of rounds 0 and 1: high halves of candidates, then positive values, then included rows.
  static constexpr std::size_t kPositive = kBuckets, kIncluded = kBuckets + 1;

  // The value of the last entry selected, and how many of its equals are.
  struct Bar {
    std::uint32_t bits = 0;
    std::uint64_t equals = 0;
  };

  [[nodiscard]] static std::uint64_t kept(const GlobalStats& stats) {
    std::uint64_t sum = 0;
    for (std::size_t b = 0; b < kBuckets; ++b) sum += stats.counts[b];
    return sum;
  }
  [[nodiscard]] std::uint64_t wanted(const GlobalStats& stats) const {
    return std::min(k_ * stats.counts[kIncluded], stats.counts[kPositive]);
  }
  [[nodiscard]] Place high_place(const std::vector<GlobalStats>& global) const {
    const GlobalStats& complete = global[1].counts.empty() ? global[0] : global[1];
    return place_of(std::span(complete.counts).first(kBuckets), wanted(global[0]));
  }
  [[nodiscard]] Bar bar_of(const std::vector<GlobalStats>& global) const {
    const Place high = high_place(global), low = place_of(global[2].counts, high.within);
    return {static_cast<std::uint32_t>(high.bucket << 16 | low.bucket), low.within};
  }

  void keep_candidates(const SaeState& state, const Batch& batch, float floor,
                       BatchTopKScratch& own, Stats& stats) const {
    const std::size_t n = batch.x.axis(0);
    expect_shape(batch.x, "x", {{"n", n}, {"D", d_in_}});
    own.candidates.reset(n);
    own.positives.assign(n, 0);
    loss_.begin(state, n, own.loss);
    own.encoder.pack(state.parameters);
    own.encoder.run(state.parameters, batch.x, batch.included,
                    [&](std::size_t row, std::span<const float> pre, PanelMemory& memory) {
                      for (std::size_t f = 0; f < pre.size(); ++f) {
                        if (!(pre[f] > 0)) continue;
                        ++own.positives[row];
                        if (pre[f] > floor)
                          own.candidates.append(row, static_cast<std::uint32_t>(f), pre[f]);
                      }
                      loss_.select_aux(pre, row, memory, own.loss);
                    });
    stats.counts.assign(kBuckets + 2, 0);
    for (std::size_t row = 0; row < n; ++row) {
      stats.counts[kPositive] += own.positives[row];
      stats.counts[kIncluded] += batch.included[row] != 0 ? 1 : 0;
      const RowView view = own.candidates.row(row);
      for (std::size_t j = 0; j < view.count; ++j) ++stats.counts[high_half(view.values[j])];
    }
  }

  void count_low_half(const std::vector<GlobalStats>& so_far, BatchTopKScratch& own,
                      Stats& stats) const {
    stats.counts.assign(kBuckets, 0);
    if (wanted(so_far[0]) == 0) return;
    const std::size_t bucket = high_place(so_far).bucket;
    for (std::size_t row = 0; row < own.candidates.rows(); ++row) {
      const RowView view = own.candidates.row(row);
      for (std::size_t j = 0; j < view.count; ++j)
        if (high_half(view.values[j]) == bucket) ++stats.counts[low_half(view.values[j])];
    }
  }

  void count_equals(const Batch& batch, const std::vector<GlobalStats>& so_far,
                    BatchTopKScratch& own, Stats& stats) const {
    stats.counts.assign(batch.rows / batch.slice_rows, 0);
    if (wanted(so_far[0]) == 0) return;
    const std::uint32_t bar = bar_of(so_far).bits;
    for (std::size_t row = 0; row < own.candidates.rows(); ++row) {
      const RowView view = own.candidates.row(row);
      for (std::size_t j = 0; j < view.count; ++j)
        if (bits_of(view.values[j]) == bar)
          ++stats.counts[(batch.first_row + row) / batch.slice_rows];
    }
  }

  void forward(const SaeState& state, const Batch& batch, const std::vector<GlobalStats>& so_far,
               BatchTopKScratch& own, Stats& stats) const {
    const std::size_t n = batch.x.axis(0);
    own.entries.reset(n);
    const Bar bar = wanted(so_far[0]) != 0 ? bar_of(so_far) : Bar{0xFFFFFFFFu, 0};
    std::uint64_t equals_before = 0;
    for (std::size_t slice = 0; slice < batch.first_row / batch.slice_rows; ++slice)
      equals_before += so_far[3].counts[slice];
    for (std::size_t row = 0; row < n; ++row) {
      const RowView view = own.candidates.row(row);
      for (std::size_t j = 0; j < view.count; ++j) {
        const std::uint32_t bits = bits_of(view.values[j]);
        if (bits > bar.bits || (bits == bar.bits && equals_before++ < bar.equals))
          own.entries.append(row, view.features[j], view.values[j]);
      }
    }
    for_each_item((n + kPanelRows - 1) / kPanelRows, own.memory,
                  [&](std::size_t panel, PanelMemory& memory) {
                    for (std::size_t row = panel * kPanelRows;
                         row < std::min(n, (panel + 1) * kPanelRows); ++row) {
                      if (batch.included[row] == 0) continue;
                      loss_.decode_row(state.parameters, batch.x.row(row), row,
                                       own.entries.row(row), memory, own.loss);
                      loss_.decode_aux(state.parameters, row, memory, own.loss);
                    }
                  });
    loss_.collect(batch, own.entries, own.loss, stats);
  }

  std::size_t d_in_, d_sae_, k_;
  double threshold_rate_;
  Reconstruction loss_;
};

}  // namespace

std::unique_ptr<Variant> make_batchtopk(const SaeConfig& config, std::size_t d_in,
                                        std::uint64_t dead_after_rows) {
  return std::make_unique<BatchTopK>(config, d_in, dead_after_rows);
}

void check_batchtopk(const SaeConfig& config, std::string_view where) {
  check_k(config, where);
  if (!(config.threshold_rate > 0 && config.threshold_rate <= 1))
    throw ConfigError("{}.threshold_rate is {}; expected a number in (0, 1], e.g. 0.01.", where,
                      config.threshold_rate);
}

}  // namespace refract
