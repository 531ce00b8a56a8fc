// Statistics as their file has them, back in memory.
#include <limits>
#include <nlohmann/json.hpp>

#include "refract/base/error.hpp"
#include "refract/stages/statistics.hpp"

namespace refract {
namespace {

using Json = nlohmann::ordered_json;

std::optional<double> number_or_none(const Json& json) {
  return json.is_null() ? std::nullopt : std::optional(json.get<double>());
}

std::optional<SpectrumShape> shape_of(const Json& json) {
  if (json.at("participation_ratio").is_null()) return std::nullopt;
  SpectrumShape shape;
  shape.participation_ratio = json.at("participation_ratio");
  shape.effective_rank = json.at("effective_rank");
  shape.isoscore = number_or_none(json.at("isoscore"));
  shape.condition_number = number_or_none(json.at("condition_number"));
  return shape;
}

Spread spread_of(const Json& json) {
  return {.mean_cosine = number_or_none(json.at("mean_cosine")),
          .shape = shape_of(json),
          .eigenvalues = json.at("eigenvalues").get<std::vector<double>>()};
}

std::vector<RowStratum> strata_of(const Json& json) {
  std::vector<RowStratum> strata;
  for (const Json& one : json)
    strata.push_back({.name = one.at("name"),
                      .rows = one.at("rows"),
                      .share = one.at("share"),
                      .mean_norm = number_or_none(one.at("mean_norm")),
                      .std = number_or_none(one.at("std")),
                      .strongest = one.at("mean_of_strongest").get<std::vector<double>>(),
                      .mean_cosine = number_or_none(one.at("mean_cosine")),
                      .shape = shape_of(one),
                      .few_rows = one.at("few_rows")});
  return strata;
}

// null: NaN.
std::vector<double> column_of(const Json& json) {
  std::vector<double> column;
  for (const Json& value : json)
    column.push_back(number_or_none(value).value_or(std::numeric_limits<double>::quiet_NaN()));
  return column;
}

ActivationStatistics statistics_of(const Json& json) {
  ActivationStatistics of;
  of.hook = json.at("hook");
  of.d_in = json.at("d_in");
  of.rows = json.at("rows");
  of.documents = json.at("documents");
  of.few_rows = json.at("few_rows");
  of.padding = json.at("padding");
  of.mean_norm = json.at("mean_norm");
  of.raw = spread_of(json.at("raw"));
  of.mean_cosine_centred = number_or_none(json.at("raw").at("mean_cosine_centred"));
  of.mean_cosine_without_strongest =
      number_or_none(json.at("raw").at("mean_cosine_without_strongest"));
  of.whitened = spread_of(json.at("whitened"));
  of.whitening_floor = json.at("whitened").at("floor");
  of.floored = json.at("whitened").at("floored");
  const Json& outliers = json.at("outliers");
  of.outliers.count = outliers.at("count");
  of.outliers.threshold = outliers.at("threshold");
  of.outliers.median = outliers.at("median");
  of.outliers.mean = outliers.at("mean");
  of.outliers.deviation = outliers.at("deviation");
  for (const Json& one : json.at("strongest"))
    of.strongest.push_back({.dimension = one.at("dimension"),
                            .outlier = one.at("outlier"),
                            .times_median = one.at("times_median"),
                            .deviations = one.at("deviations"),
                            .explained_by_position = one.at("explained_by_position"),
                            .explained_by_class = one.at("explained_by_class")});
  of.explained_by_position = json.at("explained_by_position");
  of.explained_by_class = json.at("explained_by_class");
  of.positions = strata_of(json.at("positions"));
  of.classes = strata_of(json.at("classes"));
  of.left_out = strata_of(json.at("left_out"));
  const Json& dimensions = json.at("dimensions");
  of.dimensions = {.mean = column_of(dimensions.at("mean")),
                   .std = column_of(dimensions.at("std")),
                   .skewness = column_of(dimensions.at("skewness")),
                   .excess_kurtosis = column_of(dimensions.at("excess_kurtosis")),
                   .smallest = column_of(dimensions.at("smallest")),
                   .largest = column_of(dimensions.at("largest")),
                   .size = column_of(dimensions.at("size")),
                   .share = column_of(dimensions.at("share"))};
  return of;
}

}  // namespace

ActivationStatistics statistics_from_json(const std::string& text) {
  try {
    return statistics_of(Json::parse(text));
  } catch (const Json::exception&) {
    throw Damaged("{} bytes are no statistics written by refract. Run refract evaluate.",
                  text.size());
  }
}

}  // namespace refract
