// Statistics as their file has them, and back in memory.
#include <fmt/format.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "refract/base/error.hpp"
#include "refract/stages/statistics.hpp"

namespace refract {
namespace {

using Json = nlohmann::ordered_json;

template <typename T>
Json number_or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

void put_shape(Json& json, const std::optional<SpectrumShape>& shape) {
  const auto of = [&](double SpectrumShape::*member) {
    return shape ? Json((*shape).*member) : Json(nullptr);
  };
  json["participation_ratio"] = of(&SpectrumShape::participation_ratio);
  json["effective_rank"] = of(&SpectrumShape::effective_rank);
  json["isoscore"] = number_or_null(shape ? shape->isoscore : std::nullopt);
  json["condition_number"] = number_or_null(shape ? shape->condition_number : std::nullopt);
}

void put_spectrum(Json& json, const Spread& spread) {
  put_shape(json, spread.shape);
  for (const int percent : {50, 90, 99})
    json[fmt::format("components_for_{}_percent", percent)] =
        components_for(spread.eigenvalues, percent / 100.0);
  json["eigenvalues"] = spread.eigenvalues;
}

Json json_of(const RowStratum& stratum) {
  Json json{{"name", stratum.name}, {"rows", stratum.rows}, {"share", stratum.share}};
  json["mean_norm"] = number_or_null(stratum.mean_norm);
  json["std"] = number_or_null(stratum.std);
  json["mean_cosine"] = number_or_null(stratum.mean_cosine);
  put_shape(json, stratum.shape);
  json["few_rows"] = stratum.few_rows;
  json["mean_of_strongest"] = stratum.strongest;
  return json;
}

Json json_of(const std::vector<RowStratum>& strata) {
  Json json = Json::array();
  for (const RowStratum& stratum : strata) json.push_back(json_of(stratum));
  return json;
}

Json json_of_strongest(const ActivationStatistics& of) {
  Json json = Json::array();
  for (const StrongDimension& strong : of.strongest)
    json.push_back({{"dimension", strong.dimension},
                    {"outlier", strong.outlier},
                    {"size", of.dimensions.size[strong.dimension]},
                    {"times_median", strong.times_median},
                    {"deviations", strong.deviations},
                    {"mean", of.dimensions.mean[strong.dimension]},
                    {"std", of.dimensions.std[strong.dimension]},
                    {"share", of.dimensions.share[strong.dimension]},
                    {"explained_by_position", strong.explained_by_position},
                    {"explained_by_class", strong.explained_by_class}});
  return json;
}

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

std::string to_json(const ActivationStatistics& of, const Parents& parents) {
  Json json{{"schema", "statistics"},
            {"version", kSchemaVersion},
            {"stage", "evaluate"},
            {"parents", parents}};
  json["hook"] = of.hook;
  json["d_in"] = of.d_in;
  json["rows"] = of.rows;
  json["documents"] = of.documents;
  json["few_rows"] = of.few_rows;
  json["padding"] = of.padding;
  json["mean_norm"] = of.mean_norm;
  Json& raw = json["raw"];
  raw["mean_cosine"] = number_or_null(of.raw.mean_cosine);
  raw["mean_cosine_centred"] = number_or_null(of.mean_cosine_centred);
  raw["mean_cosine_without_strongest"] = number_or_null(of.mean_cosine_without_strongest);
  put_spectrum(raw, of.raw);
  Json& whitened = json["whitened"];
  whitened["floor"] = of.whitening_floor;
  whitened["floored"] = of.floored;
  whitened["mean_cosine"] = number_or_null(of.whitened.mean_cosine);
  put_spectrum(whitened, of.whitened);
  json["outliers"] = {{"count", of.outliers.count},
                      {"threshold", of.outliers.threshold},
                      {"median", of.outliers.median},
                      {"mean", of.outliers.mean},
                      {"deviation", of.outliers.deviation}};
  json["strongest"] = json_of_strongest(of);
  json["explained_by_position"] = of.explained_by_position;
  json["explained_by_class"] = of.explained_by_class;
  json["positions"] = json_of(of.positions);
  json["classes"] = json_of(of.classes);
  json["left_out"] = json_of(of.left_out);
  json["dimensions"] = {
      {"mean", of.dimensions.mean},         {"std", of.dimensions.std},
      {"skewness", of.dimensions.skewness}, {"excess_kurtosis", of.dimensions.excess_kurtosis},
      {"smallest", of.dimensions.smallest}, {"largest", of.dimensions.largest},
      {"size", of.dimensions.size},         {"share", of.dimensions.share}};
  return json.dump();
}

ActivationStatistics statistics_from_json(const std::string& text) {
  try {
    return statistics_of(Json::parse(text));
  } catch (const Json::exception&) {
    throw Damaged("{} bytes are no statistics written by refract. Run refract evaluate.",
                  text.size());
  }
}

}  // namespace refract
