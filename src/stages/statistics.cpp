#include "refract/stages/statistics.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>
#include <set>

#include "refract/base/activity.hpp"
#include "refract/base/error.hpp"
#include "refract/base/parallel.hpp"
#include "refract/base/progress.hpp"
#include "refract/metrics/moments.hpp"
#include "refract/metrics/power_moments.hpp"
#include "refract/ops/gemm.hpp"
#include "refract/order/sample_order.hpp"
#include "refract/stages/heldout_rows.hpp"
#include "refract/tensor/dot.hpp"

namespace refract {
namespace {

constexpr std::uint64_t kBlockRows = 4096;  // measured at a time; sums are of whole blocks
constexpr double kWhiteningFloor = 1e-6;    // fp32 rows still have three good digits there
constexpr std::size_t kStrongest = 20, kLeftOut = 3;
// Below it: RowStratum::few_rows.
constexpr std::uint64_t kRowsPerDimension = 10;

// Strata by kind of row: the token classes of those included, then those left out; after them the
// position buckets. A row is in one kind, and in one bucket if it is included.
enum Kind : std::uint8_t { special = kTokenClasses, sink, padding };
constexpr std::size_t kKinds = padding;  // padding is counted, no more

bool is_included(std::uint8_t kind) { return kind < kTokenClasses; }

// Bucket b holds b = 0: 0; else 2^(b-1) to 2^b - 1.
std::string bucket_name(std::size_t bucket) {
  const std::uint64_t first = bucket == 0 ? 0 : std::uint64_t{1} << (bucket - 1);
  return bucket < 2 ? fmt::format("{}", first) : fmt::format("{}-{}", first, 2 * first - 1);
}

// The rows measured, and of each what it is.
class StatisticsRows {
 public:
  StatisticsRows(const ChunkReader& heldout, const HookCalibration& calibration,
                 std::span<const TokenClass> token_classes, std::uint64_t max_rows)
      : heldout_(heldout),
        column_(heldout.hook_index(calibration.hook)),
        d_(heldout.spec().hooks[column_].d_in),
        rows_(rows_of_whole_documents(heldout, max_rows)) {
    for (std::uint64_t first = 0; first < rows_; first += kBlockRows) {
      stop_point();
      read_kinds(first, std::min(kBlockRows, rows_ - first), token_classes);
    }
  }

  [[nodiscard]] std::size_t d() const { return d_; }
  [[nodiscard]] std::uint64_t rows() const { return rows_; }
  [[nodiscard]] std::uint64_t blocks() const { return (rows_ + kBlockRows - 1) / kBlockRows; }
  [[nodiscard]] std::size_t strata() const { return kKinds + buckets_; }
  [[nodiscard]] std::size_t documents() const { return documents_.size(); }
  [[nodiscard]] std::uint64_t count(std::uint8_t kind) const {
    return static_cast<std::uint64_t>(std::ranges::count(kinds_, kind));
  }
  [[nodiscard]] bool is_in(std::uint64_t row, std::size_t stratum) const {
    return stratum < kKinds ? kinds_[row] == stratum
                            : is_included(kinds_[row]) && buckets_of_[row] == stratum - kKinds;
  }
  [[nodiscard]] bool is_included_row(std::uint64_t row) const { return is_included(kinds_[row]); }

  struct Block {
    std::uint64_t first = 0;
    Tensor<float> x;       // [n, D]
    Tensor<float> picked;  // room for as many
  };
  void read(std::uint64_t block, Block& to) const {
    to.first = block * kBlockRows;
    const std::uint64_t n = std::min(kBlockRows, rows_ - to.first);
    if (to.x.size() != n * d_) {
      to.x = Tensor<float>(Shape{n, d_});
      to.picked = Tensor<float>(Shape{n, d_});
    }
    heldout_.read_rows(column_, to.first, n, to.x.span());
  }
  // Those rows of the block that `wanted(row)` takes, one after the other, until the next pick.
  template <typename Wanted>
  static TensorView<float> pick(Block& block, Wanted&& wanted) {
    std::size_t n = 0;
    for (std::size_t i = 0; i < block.x.axis(0); ++i)
      if (wanted(block.first + i)) std::ranges::copy(block.x.row(i), block.picked.row(n++).begin());
    return block.picked.view().rows(0, n);
  }
  [[nodiscard]] TensorView<float> pick_stratum(Block& block, std::size_t stratum) const {
    return pick(block, [&](std::uint64_t row) { return is_in(row, stratum); });
  }
  [[nodiscard]] TensorView<float> pick_included(Block& block) const {
    return pick(block, [&](std::uint64_t row) { return is_included_row(row); });
  }

 private:
  void read_kinds(std::uint64_t first, std::uint64_t n, std::span<const TokenClass> classes) {
    const RowIdentity identity = heldout_.read_identity(first, n);
    const std::vector<std::uint8_t> excluded = heldout_.read_excluded(column_, first, n);
    for (std::uint64_t i = 0; i < n; ++i) {
      const std::uint32_t token = identity.token[i];
      const TokenClass of_token = token < classes.size() ? classes[token] : TokenClass::other;
      const auto kind = (identity.excluded[i] & kExcludedPad) != 0 ? std::uint8_t{padding}
                        : identity.excluded[i] != 0                ? std::uint8_t{special}
                        : excluded[i] != 0                         ? std::uint8_t{sink}
                                           : static_cast<std::uint8_t>(of_token);
      const auto bucket = static_cast<std::uint8_t>(
          std::bit_width(std::min(identity.position[i], identity.document_position[i])));
      kinds_.push_back(kind);
      buckets_of_.push_back(bucket);
      if (!is_included(kind)) continue;
      buckets_ = std::max<std::size_t>(buckets_, bucket + std::size_t{1});
      documents_.insert(identity.document[i]);
    }
  }

  const ChunkReader& heldout_;
  std::size_t column_, d_;
  std::uint64_t rows_;
  std::vector<std::uint8_t> kinds_, buckets_of_;  // [rows]
  std::size_t buckets_ = 0;
  std::set<std::uint64_t> documents_;
};

// Block after block, some on each rank: measure(block, to [width]), then add([width]) everywhere in
// the order of the blocks.
//
//   r0 measures b0, then b2    b0 b1 to all: added, b0 first    b2 to all: added
//   r1 measures b1
template <typename Measure, typename Add>
void collective_for_blocks(const StatisticsRows& rows, std::size_t width, const std::string& doing,
                           SharedStop& stop, Communicator& ranks, Measure&& measure, Add&& add) {
  const auto size = static_cast<std::uint64_t>(ranks.size());
  working(doing);
  Progress progress(doing, rows.rows(), "rows", ranks.rank() != 0);
  StatisticsRows::Block block;
  for (std::uint64_t first = 0; first < rows.blocks(); first += size) {
    std::vector<double> mine;
    const std::uint64_t own = first + static_cast<std::uint64_t>(ranks.rank());
    stop.collective([&] {
      if (own >= rows.blocks()) return;
      rows.read(own, block);
      mine.assign(width, 0.0);
      measure(block, std::span(mine));
    });
    const std::vector<double> all = ranks.all_gather(std::span<const double>(mine));
    for (std::size_t at = 0; at < all.size(); at += width)
      add(std::span<const double>(all).subspan(at, width));
    progress.advance(std::min(size * kBlockRows, rows.rows() - first * kBlockRows));
  }
}

void add_to(DirectionSum& sum, std::span<const double> packed) {  // [D + 1]
  for (std::size_t j = 0; j < sum.sum.size(); ++j) sum.sum[j] += packed[j];
  sum.rows += packed.back();
}
void pack(const DirectionSum& sum, std::span<double> to) {
  to.back() = sum.rows;
  std::ranges::copy(sum.sum, to.begin());
}

struct StratumSums {
  explicit StratumSums(std::size_t d) : sum(d, 0.0), directions(d) {}
  std::vector<double> sum;  // [D] of x
  DirectionSum directions;
  double rows = 0, norm = 0;

  [[nodiscard]] static std::size_t packed_size(std::size_t d) { return 2 * d + 3; }
  [[nodiscard]] double mean(std::size_t j) const { return sum[j] / rows; }
};

void measure_stratum(TensorView<const float> x, std::span<double> to) {
  const std::size_t d = x.axis(1);
  add_weighted_rows(x, std::vector<double>(x.axis(0), 1.0), to.first(d));
  DirectionSum directions(d);
  directions.add(x);
  pack(directions, to.subspan(d, d + 1));
  to[2 * d + 1] = static_cast<double>(x.axis(0));
  for (std::size_t i = 0; i < x.axis(0); ++i) to[2 * d + 2] += norm_of(x.row(i));
}

void add_to(StratumSums& sums, std::span<const double> packed) {
  const std::size_t d = sums.sum.size();
  for (std::size_t j = 0; j < d; ++j) sums.sum[j] += packed[j];
  add_to(sums.directions, packed.subspan(d, d + 1));
  sums.rows += packed[2 * d + 1];
  sums.norm += packed[2 * d + 2];
}

struct FirstOrder {
  PowerMoments moments;             // of the included rows
  std::vector<StratumSums> strata;  // of each stratum
};

FirstOrder collective_first_order(const StatisticsRows& rows, const std::string& hook,
                                  SharedStop& stop, Communicator& ranks) {
  const std::size_t d = rows.d(), of_moments = PowerMoments::packed_size(d),
                    of_stratum = StratumSums::packed_size(d);
  FirstOrder out{.moments = {}, .strata = {rows.strata(), StratumSums(d)}};
  collective_for_blocks(
      rows, of_moments + rows.strata() * of_stratum, "statistics of " + hook, stop, ranks,
      [&](StatisticsRows::Block& block, std::span<double> to) {
        PowerMoments::of(rows.pick_included(block)).pack(to.first(of_moments));
        for (std::size_t s = 0; s < rows.strata(); ++s)
          measure_stratum(rows.pick_stratum(block, s),
                          to.subspan(of_moments + s * of_stratum, of_stratum));
      },
      [&](std::span<const double> found) {
        out.moments.merge(PowerMoments::unpack(found.first(of_moments)));
        for (std::size_t s = 0; s < rows.strata(); ++s)
          add_to(out.strata[s], found.subspan(of_moments + s * of_stratum, of_stratum));
      });
  return out;
}

struct Directions {
  explicit Directions(std::size_t d) : centred(d), without_strongest(d), whitened(d) {}
  DirectionSum centred, without_strongest, whitened;
};

void subtract(TensorView<float> x, std::span<const float> mean) {
  parallel_for(x.axis(0), [&](std::size_t i) {
    for (std::size_t j = 0; j < mean.size(); ++j) x.row(i)[j] -= mean[j];
  });
}

Directions collective_directions(const StatisticsRows& rows, const HookCalibration& calibration,
                                 std::span<const float> mean,
                                 std::span<const std::size_t> strongest, const Tensor<float>& W,
                                 SharedStop& stop, Communicator& ranks) {
  const std::size_t d = rows.d(), width = d + 1;
  Directions out(d);
  Stream stream;
  const PackedMatrix packed(W.cview(), {}, stream);
  Tensor<float> y(Shape{kBlockRows, d});
  const auto measure = [&](TensorView<const float> x, std::span<double> to) {
    DirectionSum sum(d);
    sum.add(x);
    pack(sum, to);
  };
  collective_for_blocks(
      rows, 3 * width, "statistics of " + calibration.hook + ": directions", stop, ranks,
      [&](StatisticsRows::Block& block, std::span<double> to) {
        TensorView<float> x = rows.pick_included(block);
        subtract(x, mean);
        measure(x, to.first(width));
        x = rows.pick_included(block);
        for (std::size_t i = 0; i < x.axis(0); ++i)
          for (const std::size_t j : strongest) x.row(i)[j] = 0;
        measure(x, to.subspan(width, width));
        x = rows.pick_included(block);
        subtract(x, calibration.mean);
        const TensorView<float> turned = y.view().rows(0, x.axis(0));
        gemm_nt(x, packed, turned, 0, stream);
        measure(turned, to.subspan(2 * width, width));
      },
      [&](std::span<const double> found) {
        add_to(out.centred, found.first(width));
        add_to(out.without_strongest, found.subspan(width, width));
        add_to(out.whitened, found.subspan(2 * width, width));
      });
  return out;
}

// The calibration's whitening, the same bytes on every rank.
Whitening collective_whitening(const HookCalibration& calibration, SharedStop& stop,
                               Communicator& ranks) {
  const std::size_t d = calibration.mean.size();
  Whitening out;
  stop.collective([&] {
    if (ranks.rank() == 0) out = whitening_of(calibration.covariance, d, kWhiteningFloor);
  });
  if (ranks.rank() != 0) out.W = Tensor<float>(Shape{d, d});
  ranks.broadcast(out.W.span(), 0);
  ranks.broadcast(std::span(&out.floor, 1), 0);
  std::uint64_t floored = out.floored;
  ranks.broadcast(std::span(&floored, 1), 0);
  out.floored = floored;
  return out;
}

// Covariance about a stratum's own mean, from all its tiles, summed about `about`. Zero where what
// is left is rounding: rows that are all the same.
std::vector<double> covariance_about_mean(std::span<const double> tiles,
                                          std::span<const double> mean,
                                          std::span<const float> about, double n) {
  const std::size_t d = mean.size();
  std::vector<double> off(d);
  for (std::size_t j = 0; j < d; ++j) off[j] = mean[j] - static_cast<double>(about[j]);
  std::vector<double> out = covariance_of(tiles, d, n);
  const auto trace = [&] {
    double sum = 0;
    for (std::size_t j = 0; j < d; ++j) sum += out[j * d + j];
    return sum;
  };
  const double before = trace();
  parallel_for(d, [&](std::size_t i) {
    for (std::size_t j = 0; j < d; ++j) out[i * d + j] -= off[i] * off[j];
  });
  if (trace() <= 1e-13 * before) std::ranges::fill(out, 0.0);
  return out;
}

struct Spectra {
  std::vector<std::vector<double>> strata;  // [strata][D], empty for fewer than two rows
  std::vector<double> raw, whitened;        // [D] of all included rows
};

// Scatter about `about`, then eigenvalues. Every rank goes over all rows once in a pass.
class SpreadOfStrata {
 public:
  SpreadOfStrata(const StatisticsRows& rows, const FirstOrder& first_order,
                 std::span<const float> about, const std::string& hook, SharedStop& stop,
                 Communicator& ranks)
      : rows_(rows),
        first_order_(first_order),
        about_(about),
        doing_("statistics of " + hook + ": spread"),
        stop_(stop),
        ranks_(ranks),
        share_(share_of(ScatterTiles::tiles_of(rows.d()), ranks.rank(), ranks.size())),
        all_(share_.count * kTileNumbers, 0.0) {}

  [[nodiscard]] Spectra collective_spectra(const Tensor<float>& W, std::size_t scatter_bytes) {
    Spectra out;
    out.strata.resize(rows_.strata());
    std::vector<std::size_t> strata;
    for (std::size_t s = 0; s < rows_.strata(); ++s)
      if ((s < kTokenClasses || s >= kKinds) && first_order_.strata[s].rows > 0)
        strata.push_back(s);
    // Rank 0 has a tile more than the last: its number is every rank's.
    const std::size_t bytes =
        share_of(ScatterTiles::tiles_of(rows_.d()), 0, ranks_.size()).count * kTileNumbers * 8;
    const std::size_t at_once = std::max<std::size_t>(1, scatter_bytes / bytes);
    for (std::size_t first = 0; first < strata.size(); first += at_once)
      collective_pass(std::span(strata).subspan(first, std::min(at_once, strata.size() - first)),
                      out);
    collective_whole(W, out);
    return out;
  }

 private:
  static constexpr std::size_t kTileNumbers = ScatterTiles::kTile * ScatterTiles::kTile;

  void collective_pass(std::span<const std::size_t> strata, Spectra& out) {
    std::vector<ScatterTiles> tiles;
    for (std::size_t i = 0; i < strata.size(); ++i)
      tiles.emplace_back(rows_.d(), share_.first, share_.count);
    stop_.collective([&] {
      working(doing_);
      Progress progress(doing_, rows_.rows(), "rows", ranks_.rank() != 0);
      StatisticsRows::Block block;
      for (std::uint64_t b = 0; b < rows_.blocks(); ++b) {
        rows_.read(b, block);
        for (std::size_t i = 0; i < strata.size(); ++i) {
          stop_.poll();
          const TensorView<const float> x = rows_.pick_stratum(block, strata[i]);
          if (x.axis(0) != 0) tiles[i].add(x, about_);
        }
        progress.advance(block.x.axis(0));
      }
    });
    // A row is in one class: the scatter of all rows is the sum of theirs, in their order.
    for (std::size_t i = 0; i < strata.size(); ++i)
      if (strata[i] < kTokenClasses)
        for (std::size_t j = 0; j < all_.size(); ++j) all_[j] += tiles[i].values()[j];
    collective_eigenvalues(strata, tiles, out);
  }

  // Rank r finds those of strata r, r + R, ...
  void collective_eigenvalues(std::span<const std::size_t> strata,
                              const std::vector<ScatterTiles>& tiles, Spectra& out) {
    const std::size_t size = static_cast<std::size_t>(ranks_.size()), d = rows_.d();
    for (std::size_t first = 0; first < strata.size(); first += size) {
      const std::size_t count = std::min(size, strata.size() - first);
      std::vector<double> mine;  // of this rank's stratum
      for (std::size_t i = 0; i < count; ++i) {
        std::vector<double> whole =
            ranks_.gather(std::span<const double>(tiles[first + i].values()), static_cast<int>(i));
        if (static_cast<std::size_t>(ranks_.rank()) == i) mine = std::move(whole);
      }
      std::vector<double> found;
      stop_.collective([&] {
        const auto own = static_cast<std::size_t>(ranks_.rank());
        if (own >= count) return;
        found = eigenvalues_of(strata[first + own], mine);
      });
      const std::vector<double> all = ranks_.all_gather(std::span<const double>(found));
      for (std::size_t i = 0; i < count; ++i)
        out.strata[strata[first + i]].assign(
            all.begin() + static_cast<std::ptrdiff_t>(i * d),
            all.begin() + static_cast<std::ptrdiff_t>((i + 1) * d));
    }
  }

  [[nodiscard]] std::vector<double> eigenvalues_of(std::size_t stratum,
                                                   std::span<const double> tiles) const {
    const StratumSums& sums = first_order_.strata[stratum];
    std::vector<double> mean(rows_.d());
    for (std::size_t j = 0; j < mean.size(); ++j) mean[j] = sums.mean(j);
    return eigenvalues(covariance_about_mean(tiles, mean, about_, sums.rows), mean.size());
  }

  // Of all rows, raw and whitened: rank 0's.
  void collective_whole(const Tensor<float>& W, Spectra& out) {
    const std::size_t d = rows_.d();
    const std::vector<double> tiles = ranks_.gather(std::span<const double>(all_), 0);
    out.raw.resize(d);
    out.whitened.resize(d);
    stop_.collective([&] {
      if (ranks_.rank() != 0) return;
      working(doing_);
      const PowerMoments& moments = first_order_.moments;
      const std::vector<double> covariance =
          covariance_about_mean(tiles, moments.mean(), about_, moments.rows());
      out.raw = eigenvalues(covariance, d);
      out.whitened = eigenvalues(whitened_covariance(W, covariance), d);
    });
    ranks_.broadcast(std::span(out.raw), 0);
    ranks_.broadcast(std::span(out.whitened), 0);
  }

  const StatisticsRows& rows_;
  const FirstOrder& first_order_;
  std::span<const float> about_;
  std::string doing_;
  SharedStop& stop_;
  Communicator& ranks_;
  Share share_;              // of the tiles
  std::vector<double> all_;  // this rank's tiles of the scatter of all included rows
};

// sum over strata of n |mean - overall mean|^2, of dimension j.
double between(std::span<const StratumSums> strata, double overall, std::size_t j) {
  double sum = 0;
  for (const StratumSums& of : strata)
    if (of.rows > 0) sum += of.rows * (of.mean(j) - overall) * (of.mean(j) - overall);
  return sum;
}

double share_between(std::span<const StratumSums> strata, const PowerMoments& moments,
                     std::size_t first, std::size_t count) {
  double explained = 0, all = 0;
  for (std::size_t j = first; j < first + count; ++j) {
    explained += between(strata, moments.mean()[j], j);
    all += moments.squared_deviations()[j];
  }
  return all > 0 ? explained / all : 0;
}

DimensionStatistics dimensions_of(const PowerMoments& moments) {
  DimensionStatistics out{.mean = moments.mean(),
                          .std = moments.standard_deviation(),
                          .skewness = moments.skewness(),
                          .excess_kurtosis = moments.excess_kurtosis(),
                          .smallest = moments.smallest(),
                          .largest = moments.largest(),
                          .size = {},
                          .share = moments.second_moment()};
  const double all = std::accumulate(out.share.begin(), out.share.end(), 0.0);
  for (double& value : out.share) {
    out.size.push_back(std::sqrt(value));
    value = all > 0 ? value / all : 0;
  }
  return out;
}

RowStratum stratum_of(std::string name, const StratumSums& sums, std::span<const double> spectrum,
                      const ActivationStatistics& of) {
  RowStratum out{.name = std::move(name),
                 .rows = static_cast<std::uint64_t>(sums.rows),
                 .share = 0,
                 .mean_norm = std::nullopt,
                 .std = std::nullopt,
                 .strongest = {},
                 .mean_cosine = mean_cosine(sums.directions),
                 .shape = spectrum_shape(spectrum),
                 .few_rows = sums.rows < static_cast<double>(kRowsPerDimension * of.d_in)};
  if (sums.rows == 0) return out;
  out.mean_norm = sums.norm / sums.rows;
  if (!spectrum.empty())
    out.std = std::sqrt(std::max(0.0, std::accumulate(spectrum.begin(), spectrum.end(), 0.0)) /
                        static_cast<double>(of.d_in));
  for (const StrongDimension& strong : of.strongest)
    out.strongest.push_back(sums.mean(strong.dimension));
  return out;
}

}  // namespace

std::vector<TokenClass> token_classes(const Tokenizer& tokenizer) {
  std::vector<TokenClass> out(tokenizer.size(), TokenClass::other);
  for (std::uint32_t id = 0; id < tokenizer.size(); ++id)
    if (!tokenizer.is_special(id)) out[id] = token_class(tokenizer.decode_bytes(id));
  return out;
}

ActivationStatistics collective_activation_statistics(const ChunkReader& heldout,
                                                      const HookCalibration& calibration,
                                                      std::span<const TokenClass> token_classes,
                                                      std::uint64_t max_rows, SharedStop& stop,
                                                      Communicator& ranks,
                                                      std::size_t scatter_bytes) {
  std::optional<StatisticsRows> read;
  stop.collective([&] { read.emplace(heldout, calibration, token_classes, max_rows); });
  const StatisticsRows& rows = *read;
  const std::size_t d = rows.d();
  REFRACT_ASSERT(calibration.mean.size() == d, "calibration of {} dimensions, rows of {}",
                 calibration.mean.size(), d);
  const FirstOrder first_order = collective_first_order(rows, calibration.hook, stop, ranks);
  const PowerMoments& moments = first_order.moments;
  const std::span<const StratumSums> strata(first_order.strata);
  const std::span<const StratumSums> by_class = strata.first(kTokenClasses),
                                     by_position = strata.subspan(kKinds);

  ActivationStatistics out;
  out.hook = calibration.hook;
  out.d_in = d;
  out.rows = static_cast<std::uint64_t>(moments.rows());
  out.documents = rows.documents();
  out.few_rows = out.rows < kRowsPerDimension * d;
  out.padding = rows.count(padding);
  if (out.rows == 0)
    throw NumericalError(
        "statistics of {}: none of {} held-out rows is included (all are BOS, padding, special "
        "tokens or sinks). Raise heldout.rows, or check rows.take.",
        out.hook, rows.rows());
  out.dimensions = dimensions_of(moments);
  for (std::size_t j = 0; j < d; ++j)
    if (!std::isfinite(out.dimensions.size[j]))
      throw NumericalError(
          "statistics of {}: dimension {} of the held-out rows is not finite. Check the store "
          "(refract verify); fp32 activations above 1e38 have no statistics.",
          out.hook, j);
  out.outliers = outlier_dimensions(out.dimensions.size);
  const std::span<const std::size_t> by_size(out.outliers.by_size);
  for (std::size_t i = 0; i < std::min(kStrongest, d); ++i) {
    const std::size_t j = by_size[i];
    const double size = out.dimensions.size[j];
    const OutlierDimensions& rule = out.outliers;
    out.strongest.push_back(
        {.dimension = j,
         .outlier = i<rule.count, .times_median = rule.median> 0 ? size / rule.median : 0,
         .deviations = rule.deviation > 0 ? (size - rule.mean) / rule.deviation : 0,
         .explained_by_position = share_between(by_position, moments, j, 1),
         .explained_by_class = share_between(by_class, moments, j, 1)});
  }
  out.explained_by_position = share_between(by_position, moments, 0, d);
  out.explained_by_class = share_between(by_class, moments, 0, d);
  DirectionSum directions(d);
  double norm = 0;
  for (const StratumSums& of_class : by_class) {
    directions.add(of_class.directions);
    norm += of_class.norm;
  }
  out.mean_norm = norm / moments.rows();
  out.raw.mean_cosine = mean_cosine(directions);

  const std::vector<float> mean(moments.mean().begin(), moments.mean().end());
  const Whitening whitening = collective_whitening(calibration, stop, ranks);
  out.whitening_floor = whitening.floor;
  out.floored = whitening.floored;
  const Directions turned = collective_directions(
      rows, calibration, mean, by_size.first(std::min(kLeftOut, d)), whitening.W, stop, ranks);
  out.mean_cosine_centred = mean_cosine(turned.centred);
  out.mean_cosine_without_strongest = mean_cosine(turned.without_strongest);
  out.whitened.mean_cosine = mean_cosine(turned.whitened);

  Spectra spectra = SpreadOfStrata(rows, first_order, mean, calibration.hook, stop, ranks)
                        .collective_spectra(whitening.W, scatter_bytes);
  out.raw.shape = spectrum_shape(spectra.raw);
  out.raw.eigenvalues = std::move(spectra.raw);
  out.whitened.shape = spectrum_shape(spectra.whitened);
  out.whitened.eigenvalues = std::move(spectra.whitened);
  const auto stratum = [&](std::string name, std::size_t s) {
    RowStratum made = stratum_of(std::move(name), strata[s], spectra.strata[s], out);
    if (s < kTokenClasses || s >= kKinds)
      made.share = static_cast<double>(made.rows) / static_cast<double>(out.rows);
    return made;
  };
  for (std::size_t c = 0; c < kTokenClasses; ++c)
    out.classes.push_back(stratum(std::string(kTokenClassNames[c]), c));
  out.left_out = {stratum("special", special), stratum("sink", sink)};
  for (std::size_t b = 0; b < by_position.size(); ++b)
    out.positions.push_back(stratum(bucket_name(b), kKinds + b));
  return out;
}

}  // namespace refract
