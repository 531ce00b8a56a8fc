// The statistics for people: lines, and tables of the same cells.
#include <fmt/format.h>

#include <algorithm>

#include "refract/base/progress.hpp"
#include "refract/stages/statistics.hpp"

namespace refract {
namespace {

std::string short_number(double value) { return fmt::format("{:.4g}", value); }
std::string short_number(const std::optional<double>& value) {
  return value ? short_number(*value) : "-";
}
std::string percent(double share) { return fmt::format("{:.1f} %", 100 * share); }

template <typename Member>
std::string shape_number(const std::optional<SpectrumShape>& shape, const Member& member,
                         bool few_rows) {
  if (!shape) return "-";
  const std::optional<double> value = *shape.*member;
  return value ? fmt::format("{}{:.3g}", few_rows ? "~" : "", *value) : "-";
}

// A measure, before and after whitening, and what it says.
std::string line(std::string_view measure, const std::string& raw, const std::string& whitened,
                 std::string_view meaning) {
  return fmt::format("  {:<27}{:>9}{:>10}  {}\n", measure, raw, whitened, meaning);
}

std::string shape_lines(const ActivationStatistics& of) {
  const auto value = [&](const Spread& spread, const auto& member) {
    return shape_number(spread.shape, member, of.few_rows);
  };
  const auto both = [&](std::string_view measure, const auto& member, std::string_view meaning) {
    return line(measure, value(of.raw, member), value(of.whitened, member), meaning);
  };
  const auto components = [&](double share) {
    return line(fmt::format("directions for {:.0f} %", 100 * share),
                fmt::format("{}", components_for(of.raw.eigenvalues, share)),
                fmt::format("{}", components_for(of.whitened.eigenvalues, share)),
                share < 0.8 ? "PCA needs as many components to explain half of the variance"
                            : "and as many for nine tenths of it");
  };
  return both("participation ratio", &SpectrumShape::participation_ratio,
              fmt::format("directions the spread would fill evenly, 1 to {}; a few where outliers "
                          "rule",
                          of.d_in)) +
         both("effective rank", &SpectrumShape::effective_rank,
              "the same by entropy: weak directions count for more") +
         both("IsoScore", &SpectrumShape::isoscore,
              "1 = spread alike in every direction, 0 = along one line; usually far below 1") +
         both("condition number", &SpectrumShape::condition_number,
              "largest variance / smallest; - = some direction does not vary; 1 is ideal") +
         components(0.5) + components(0.9);
}

// Cells behind each other, each as wide as said; a negative width aligns to the left.
std::string aligned(const std::vector<std::string>& cells, std::initializer_list<int> widths) {
  std::string text = " ";
  auto width = widths.begin();
  for (const std::string& cell : cells) {
    const int w = *width;
    text += w < 0 ? fmt::format(" {:<{}}", cell, -w) : fmt::format(" {:>{}}", cell, w);
    if (width + 1 != widths.end()) ++width;
  }
  return text;
}

const std::vector<std::string> kOutlierColumns{"dimension", "size",  "x median",    "mean",
                                               "std",       "share", "by position", "by class"};

// Under kOutlierColumns.
std::vector<std::string> cells_of(const ActivationStatistics& of, const StrongDimension& strong) {
  const std::size_t j = strong.dimension;
  return {std::to_string(j),
          short_number(of.dimensions.size[j]),
          short_number(strong.times_median),
          short_number(of.dimensions.mean[j]),
          short_number(of.dimensions.std[j]),
          percent(of.dimensions.share[j]),
          percent(strong.explained_by_position),
          percent(strong.explained_by_class)};
}

// Dimensions whose mean is shown of each stratum.
std::span<const StrongDimension> followed(const ActivationStatistics& of) {
  return std::span(of.strongest).first(std::min<std::size_t>(of.strongest.size(), 3));
}

// Name, rows, share, norm, std, cosine, participation ratio, effective rank, IsoScore, and the mean
// of each dimension followed.
std::vector<std::string> cells_of(const ActivationStatistics& of, const RowStratum& stratum) {
  const auto shape = [&](const auto& member) {
    return shape_number(stratum.shape, member, stratum.few_rows);
  };
  std::vector<std::string> cells{stratum.name,
                                 std::to_string(stratum.rows),
                                 stratum.share > 0 ? percent(stratum.share) : "left out",
                                 short_number(stratum.mean_norm),
                                 short_number(stratum.std),
                                 short_number(stratum.mean_cosine),
                                 shape(&SpectrumShape::participation_ratio),
                                 shape(&SpectrumShape::effective_rank),
                                 shape(&SpectrumShape::isoscore)};
  for (std::size_t i = 0; i < followed(of).size(); ++i)
    cells.push_back(short_number(stratum.strongest[i]));
  return cells;
}

std::string outlier_lines(const ActivationStatistics& of) {
  std::string text = fmt::format(
      "  {} of {} dimensions {} (root mean square above {}: 20 x the median, or 3 deviations above "
      "the mean and 2 x the median)\n",
      of.outliers.count, of.d_in, of.outliers.count == 1 ? "is an outlier" : "are outliers",
      short_number(of.outliers.threshold));
  const auto line = [](const std::vector<std::string>& cells) {
    return aligned(cells, {9, 9, 8, 9, 9, 9, 13, 10});
  };
  text += line(kOutlierColumns) + "\n";
  const std::size_t shown =
      std::min(of.strongest.size(), std::clamp<std::size_t>(of.outliers.count, 3, 10));
  for (const StrongDimension& strong : std::span(of.strongest).first(shown))
    text += line(cells_of(of, strong)) + (strong.outlier ? "  outlier\n" : "\n");
  return text +
         "  share: of the mean of |x|^2. by position, by class: the share of its variance that the "
         "tables below explain.\n";
}

std::string stratum_table(const ActivationStatistics& of, std::string title,
                          const std::vector<RowStratum>& strata) {
  const auto line = [](const std::vector<std::string>& cells) {
    return aligned(cells, {-13, 9, 8, 9, 8, 8, 9}) + "\n";
  };
  std::vector<std::string> head{std::move(title), "rows", "share",     "norm",    "std",
                                "cosine",         "PR",   "eff. rank", "IsoScore"};
  for (const StrongDimension& strong : followed(of))
    head.push_back(fmt::format("dim {}", strong.dimension));
  std::string text = line(head);
  for (const RowStratum& stratum : strata)
    if (stratum.rows != 0) text += line(cells_of(of, stratum));
  return text;
}

}  // namespace

std::string describe(const ActivationStatistics& of) {
  std::string text = fmt::format(
      "{}: {} rows of {} documents, {} dimensions (left out: {} BOS or special, {} padding, {} "
      "sinks)\n",
      of.hook, of.rows, of.documents, of.d_in, of.left_out[0].rows, of.padding,
      of.left_out[1].rows);
  text += line("", "raw", "whitened", "");
  text += line("mean norm", short_number(of.mean_norm), "", "length of a row");
  // GPT-2's: Ethayarajh 2019 (arXiv 1909.00512).
  text +=
      line("mean cosine", short_number(of.raw.mean_cosine), short_number(of.whitened.mean_cosine),
           "of two rows: 0 = no common direction; GPT-2 0.6 in its middle, near 1 at its end");
  text += line("  less the 3 largest dims", short_number(of.mean_cosine_without_strongest), "",
               "where far below the line above, few dimensions make the common direction");
  text += line("  less the mean", short_number(of.mean_cosine_centred), "",
               "near 0: the common direction is the mean, which b_dec takes up");
  text += shape_lines(of);
  text += fmt::format(
      "  Whitened by the calibration's covariance: {} of its {} directions have less than {} of "
      "variance and are raised no further.\n\n",
      of.floored, of.d_in, short_number(of.whitening_floor));
  text += outlier_lines(of) + "\n";
  text += stratum_table(of, "tokens before", of.positions) + "\n";
  text += stratum_table(of, "token class", of.classes);
  text += stratum_table(of, "left out", of.left_out) + "\n";
  text += fmt::format(
      "  Position explains {} of the variance, token class {}. An outlier dimension whose means "
      "differ between lines comes from those rows.\n"
      "  ~ fewer than 10 rows a dimension: compare only with lines of as many rows. cosine: mean "
      "of "
      "two rows. PR: participation ratio.\n",
      percent(of.explained_by_position), percent(of.explained_by_class));
  return text;
}

namespace {

TextTable scalars_of(const ActivationStatistics& of) {
  TextTable table{
      .title = fmt::format("{}: activations", of.hook),
      .note = fmt::format("{} rows of {} documents, {} dimensions; raw, and whitened by "
                          "the calibration's covariance",
                          of.rows, of.documents, of.d_in),
      .columns = {"measure", "raw", "whitened", "what it says"},
      .rows = {}};
  const auto shape = [](const Spread& spread, const auto& member) {
    return spread.shape ? short_number(std::optional<double>(*spread.shape.*member)) : "-";
  };
  const auto both = [&](std::string_view measure, const auto& member, std::string meaning) {
    table.rows.push_back({std::string(measure), shape(of.raw, member), shape(of.whitened, member),
                          std::move(meaning)});
  };
  table.rows.push_back({"mean norm", short_number(of.mean_norm), "", "length of a row"});
  table.rows.push_back({"mean cosine", short_number(of.raw.mean_cosine),
                        short_number(of.whitened.mean_cosine),
                        "of two rows: anisotropy; 0 is no common direction"});
  table.rows.push_back({"mean cosine, without the 3 largest dimensions",
                        short_number(of.mean_cosine_without_strongest), "",
                        "far below the line above, few dimensions make the common direction"});
  table.rows.push_back({"mean cosine, less the mean", short_number(of.mean_cosine_centred), "",
                        "near 0, the common direction is the mean, which b_dec takes up"});
  both("participation ratio", &SpectrumShape::participation_ratio,
       fmt::format("directions the spread would fill evenly, 1 to {}", of.d_in));
  both("effective rank", &SpectrumShape::effective_rank,
       "the same by entropy: weak directions count for more");
  both("IsoScore", &SpectrumShape::isoscore, "1 is alike in every direction, 0 along one line");
  both("condition number", &SpectrumShape::condition_number, "largest variance / smallest");
  return table;
}

TextTable outliers_of(const ActivationStatistics& of) {
  TextTable table{.title = fmt::format("{}: the largest dimensions", of.hook),
                  .note = fmt::format("{} of {} are outliers; by position and by class: the share "
                                      "of a dimension's variance that the tables below explain",
                                      of.outliers.count, of.d_in),
                  .columns = kOutlierColumns,
                  .rows = {}};
  table.columns.emplace_back();
  for (const StrongDimension& strong :
       std::span(of.strongest).first(std::min<std::size_t>(10, of.strongest.size()))) {
    table.rows.push_back(cells_of(of, strong));
    table.rows.back().emplace_back(strong.outlier ? "outlier" : "");
  }
  return table;
}

TextTable strata_of(const ActivationStatistics& of, std::string_view title, double explained,
                    const std::vector<RowStratum>& strata) {
  TextTable table{.title = fmt::format("{}: {}", of.hook, title),
                  .note = fmt::format("explains {} of the variance; ~ of fewer than 10 rows a "
                                      "dimension",
                                      percent(explained)),
                  .columns = {"", "rows", "share", "norm", "std", "mean cosine",
                              "participation ratio", "effective rank", "IsoScore"},
                  .rows = {}};
  for (const StrongDimension& strong : followed(of))
    table.columns.push_back(fmt::format("dimension {}", strong.dimension));
  for (const RowStratum& stratum : strata)
    if (stratum.rows != 0) table.rows.push_back(cells_of(of, stratum));
  return table;
}

}  // namespace

std::vector<TextTable> tables_of(const ActivationStatistics& of) {
  return {scalars_of(of), outliers_of(of),
          strata_of(of, "by position (tokens before in the document)", of.explained_by_position,
                    of.positions),
          strata_of(of, "by token class", of.explained_by_class, of.classes)};
}

}  // namespace refract
