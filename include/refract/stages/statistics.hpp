#pragma once
// What the activations of one hook are like, before any SAE: moments of every dimension, outlier
// dimensions, how evenly directions are used; the same by position and by kind of token, and after
// whitening. Of included rows (no BOS, padding, special token or sink), in raw units.
//
//   1 first order   a rank measures some blocks of rows; what it found goes to all, who add it in
//                   the order of the blocks: means, higher moments, directions
//   2 directions    the same again, for what needs the mean: centred, without the strongest
//                   dimensions, whitened (2 N D^2 flops in fp32)
//   3 spread        a rank owns tiles of every stratum's scatter matrix and reads all rows
//                   (2 N D^2 flops in fp64, divided over the ranks); strata in as many passes as
//                   memory asks for
//   4 spectra       stratum after stratum to one rank or another, who finds its eigenvalues (about
//                   4/3 D^3 flops each)
//
// So the bytes depend neither on ranks nor on threads; the eigenvalues' last digits on the BLAS
// (metrics/pca.hpp). Memory of a rank: 4096 rows three times over; scatter tiles of at most
// `scatter_bytes`, or one stratum's where those are more (4 D^2 bytes / ranks), and once more those
// of all rows; W [D, D] twice; 24 D^2 bytes where eigenvalues are found.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "refract/analysis/token_class.hpp"
#include "refract/comm/communicator.hpp"
#include "refract/comm/shared_stop.hpp"
#include "refract/metrics/isotropy.hpp"
#include "refract/metrics/outlier_dimensions.hpp"
#include "refract/stages/text_table.hpp"
#include "refract/store/calibration.hpp"
#include "refract/store/chunk.hpp"
#include "refract/tokenizer/tokenizer.hpp"

namespace refract {

struct DimensionStatistics {                                 // [D] each
  std::vector<double> mean, std, skewness, excess_kurtosis;  // NaN: metrics/power_moments.hpp
  std::vector<double> smallest, largest;
  std::vector<double> size;   // sqrt(E[x^2])
  std::vector<double> share;  // of E[|x|^2]; they add up to 1
};

// One of the largest dimensions.
struct StrongDimension {
  std::size_t dimension = 0;
  bool outlier = false;
  double times_median = 0;  // its size / the median size; 0 where that is 0
  double deviations = 0;    // standard deviations of all sizes above their mean
  // Share of its variance that the means of the position buckets and of the token classes have;
  // 0 where it does not vary.
  double explained_by_position = 0, explained_by_class = 0;
};

struct Spread {
  std::optional<double> mean_cosine;
  std::optional<SpectrumShape> shape;
  std::vector<double> eigenvalues;  // [D] of the covariance, largest first
};

// Rows that have something in common.
struct RowStratum {
  std::string name;
  std::uint64_t rows = 0;
  double share = 0;                 // of the included rows; 0 of those left out
  std::optional<double> mean_norm;  // nothing without rows
  std::optional<double> std;  // root mean square, over dimensions, of the standard deviation about
                              // the stratum's own mean; not of those left out
  std::vector<double> strongest;       // mean of each of ActivationStatistics::strongest; or empty
  std::optional<double> mean_cosine;   // as below; also of those left out
  std::optional<SpectrumShape> shape;  // about the stratum's own mean; not of those left out
  // Fewer than 10 rows a dimension: its spectrum is steeper than the truth (at most rows - 1
  // directions are seen at all), so its numbers compare with those of the same size only.
  bool few_rows = false;
};

struct ActivationStatistics {
  std::string hook;
  std::uint64_t d_in = 0, rows = 0, documents = 0;  // included rows, and the documents they are of
  bool few_rows = false;                            // as RowStratum::few_rows
  std::uint64_t padding = 0;                        // rows left out because they are padding
  std::vector<RowStratum> left_out;                 // "special" (BOS among them), "sink"
  double mean_norm = 0;
  DimensionStatistics dimensions;
  OutlierDimensions outliers;
  std::vector<StrongDimension> strongest;  // the 20 largest, or all
  Spread raw;
  std::optional<double> mean_cosine_centred;            // of x - mean
  std::optional<double> mean_cosine_without_strongest;  // with the 3 largest dimensions set to 0
  // By the calibration's mean and covariance: what an SAE trained on whitened rows would see.
  Spread whitened;
  double whitening_floor = 0;  // 1e-6 of the calibration's largest variance
  std::uint64_t floored = 0;   // directions of the calibration with less variance than that
  // Share of the variance (summed over dimensions) that the means of the strata have.
  double explained_by_position = 0, explained_by_class = 0;
  // By tokens of the same document before it in its context: "0", "1", "2-3", "4-7", ... A BOS
  // counts as one where the document began in an earlier context.
  std::vector<RowStratum> positions;
  std::vector<RowStratum> classes;  // kTokenClassNames, all of them
};

// [V] the class of each token; special tokens are `other`.
[[nodiscard]] std::vector<TokenClass> token_classes(const Tokenizer& tokenizer);

// Of the rows of the first whole documents of `heldout`, at most max_rows of them (0: all). The
// result is on every rank. The calibration's covariance is needed on rank 0 alone; a token that
// token_classes does not know is `other`. scatter_bytes changes time and memory, no byte.
// NumericalError, naming the hook, when no row is included, a number is not finite, or as
// metrics/isotropy.hpp; StopRequested on every rank as SharedStop.
[[nodiscard]] ActivationStatistics collective_activation_statistics(
    const ChunkReader& heldout, const HookCalibration& calibration,
    std::span<const TokenClass> token_classes, std::uint64_t max_rows, SharedStop& stop,
    Communicator& ranks, std::size_t scatter_bytes = std::size_t{1} << 30);

// One JSON object, keys in a fixed order; schema, version, stage and parents first. What has no
// value is null.
[[nodiscard]] std::string to_json(const ActivationStatistics& statistics, const Parents& parents);
// The same from its text; Damaged when it is none.
[[nodiscard]] ActivationStatistics statistics_from_json(const std::string& text);
// Lines for a person: tables, with what each number means and what is usual.
[[nodiscard]] std::string describe(const ActivationStatistics& statistics);
// The same as tables: scalars, outlier dimensions, positions, classes.
[[nodiscard]] std::vector<TextTable> tables_of(const ActivationStatistics& statistics);

}  // namespace refract
