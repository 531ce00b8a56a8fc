#include "report_data.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <sstream>

#include "refract/base/activity.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/stop.hpp"

namespace refract {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kKeywordsShown =
    12;  // of readable features; the table has the first of the others
constexpr std::size_t kKeywordsOfOthers = 6;
constexpr std::size_t kExamplesOfOthers = 4;  // of features that are not readable
constexpr int kDigits = 4;

// Four significant digits: what a reader can use, and a third of the bytes.
Json number(double value) {
  if (!std::isfinite(value)) return nullptr;
  char text[32];
  std::snprintf(text, sizeof text, "%.*g", kDigits, value);
  return std::strtod(text, nullptr);
}

// Documents, each named once; examples refer to them by index.
class Documents {
 public:
  std::size_t index(const std::string& title, const std::string& url) {
    const auto [found, is_new] = indices_.try_emplace({title, url}, indices_.size());
    if (is_new) list_.push_back({title, url});
    return found->second;
  }
  [[nodiscard]] Json list() const { return list_; }

 private:
  std::map<std::pair<std::string, std::string>, std::size_t> indices_;
  Json list_ = Json::array();
};

// Text in runs: a string, followed by its strength 1..255 where the feature fires on it. Silent
// tokens share a run. "c" is the position in the list of the token the example was chosen for.
Json example_data(const FeatureExample& example, float maximum, Documents& documents) {
  Json runs = Json::array();
  std::string silent;
  std::size_t begin = 0, center = 0;
  const auto flush = [&] {
    if (!silent.empty()) runs.push_back(std::exchange(silent, {}));
  };
  for (std::size_t t = 0; t < example.token_ends.size(); ++t) {
    const std::size_t end = example.token_ends[t];
    const std::string piece = example.text.substr(begin, end - begin);
    begin = end;
    const float activation = t == example.center ? example.activation : example.activations[t];
    if (!(activation > 0) || piece.empty()) {
      silent += piece;
      continue;
    }
    flush();
    if (t == example.center) center = runs.size();
    runs.push_back(piece);
    runs.push_back(std::clamp(static_cast<int>(std::lround(255 * activation / maximum)), 1, 255));
  }
  flush();
  return {{"a", number(example.activation)},
          {"d", documents.index(example.title, example.url)},
          {"c", center},
          {"r", std::move(runs)}};
}

Json count_data(const ReadableCount& count) {
  return {{"name", count.name},          {"features", count.features},
          {"alive", count.alive},        {"scored", count.scored},
          {"readable", count.readable},  {"predictable", count.predictable},
          {"single", count.single_token}};
}

// Columns of the feature table, [F] each.
Json table_data(const FeatureAtlas& atlas) {
  Json table = {{"density", Json::array()},  {"max", Json::array()},
                {"auroc", Json::array()},    {"share", Json::array()},
                {"token", Json::array()},    {"flags", Json::array()},
                {"windows", Json::array()},  {"documents", Json::array()},
                {"keywords", Json::array()}, {"near", Json::array()}};
  for (const FeatureFacts& f : atlas.features) {
    stop_point();
    table["density"].push_back(number(static_cast<double>(f.density)));
    table["max"].push_back(number(static_cast<double>(f.max_activation)));
    table["auroc"].push_back(number(static_cast<double>(f.auroc)));
    table["share"].push_back(number(static_cast<double>(f.token_share)));
    table["token"].push_back(f.frequent_token);
    table["flags"].push_back((f.alive() ? 1 : 0) | (f.scored ? 2 : 0) | (f.readable ? 4 : 0) |
                             (f.single_token ? 8 : 0));
    table["windows"].push_back(f.firing_windows);
    table["documents"].push_back(f.firing_documents);
    std::string keywords;
    const std::size_t shown =
        std::min(f.keywords.size(), f.readable ? kKeywordsShown : kKeywordsOfOthers);
    for (std::size_t i = 0; i < shown; ++i) keywords += (i ? " " : "") + f.keywords[i].word;
    table["keywords"].push_back(keywords);
    Json near = Json::array();
    for (const FeatureNeighbour& n : f.neighbours) {
      near.push_back(n.feature);
      near.push_back(std::lround(100 * n.cosine));  // hundredths
    }
    table["near"].push_back(std::move(near));
  }
  return table;
}

// Readable features first, each part by AUROC; unscored ones last; ties by number.
std::vector<std::size_t> by_merit(const FeatureAtlas& atlas) {
  std::vector<std::size_t> order(atlas.features.size());
  for (std::size_t f = 0; f < order.size(); ++f) order[f] = f;
  const auto merit = [&](std::size_t f) {
    const FeatureFacts& facts = atlas.features[f];
    return (facts.readable ? 2.0F : 0.0F) + (facts.scored ? facts.auroc : -1.0F);
  };
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return merit(a) > merit(b); });
  return order;
}

Json features_data(const FeatureAtlas& atlas, std::uint64_t budget_bytes, Documents& documents) {
  Json examples = Json::object();
  std::uint64_t spent = 0;
  for (const std::size_t f : by_merit(atlas)) {
    stop_point();
    const FeatureFacts& facts = atlas.features[f];
    if (!facts.alive()) continue;
    Json list = Json::array();
    const std::size_t shown =
        std::min(facts.examples.size(), facts.readable ? facts.examples.size() : kExamplesOfOthers);
    for (std::size_t i = 0; i < shown; ++i)
      list.push_back(example_data(facts.examples[i], facts.max_activation, documents));
    spent += list.dump(-1, ' ', false, Json::error_handler_t::replace).size();
    if (spent > budget_bytes) break;
    examples[std::to_string(f)] = std::move(list);
  }
  Json controls = Json::array();
  for (const ReadableCount& control : atlas.controls) controls.push_back(count_data(control));
  return {{"training_rows", atlas.training_rows}, {"training_documents", atlas.training_documents},
          {"heldout_rows", atlas.heldout_rows},   {"heldout_documents", atlas.heldout_documents},
          {"count", count_data(atlas.count)},     {"controls", std::move(controls)},
          {"table", table_data(atlas)},           {"examples", std::move(examples)}};
}

// One point per visit; one that was written twice counts once, as written last.
Json metrics_data(const std::filesystem::path& path) {
  if (path.empty() || !std::filesystem::exists(path)) return Json::array();
  std::map<std::int64_t, Json> points;
  std::istringstream lines(read_file(path));
  std::size_t line_number = 0;
  for (std::string line; std::getline(lines, line);) {
    stop_point();
    ++line_number;
    if (line.empty()) continue;
    const Json values = Json::parse(line, nullptr, false);
    if (!values.is_object())
      throw DataError(
          "{}:{} is not a JSON object: the file was changed or cut. Only training writes its "
          "lines; remove line {} to have a report without that point.",
          path.string(), line_number, line_number);
    Json point = Json::object();
    for (const auto& [key, value] : values.items())
      if (value.is_number()) point[key] = number(value.template get<double>());
    auto visit = values.find("visit");
    if (visit == values.end()) visit = values.find("chunk");  // its word until 0.2
    const bool has_visit = visit != values.end() && visit->is_number_integer();
    points[has_visit ? visit->get<std::int64_t>() : static_cast<std::int64_t>(line_number)] =
        std::move(point);
  }
  Json list = Json::array();
  for (auto& [visit, point] : points) list.push_back(std::move(point));
  return list;
}

Json pairs_data(const std::vector<std::pair<std::string, std::string>>& pairs) {
  Json list = Json::array();
  for (const auto& [key, value] : pairs) list.push_back({key, value});
  return list;
}

Json tables_data(const std::vector<TextTable>& tables) {
  Json list = Json::array();
  for (const TextTable& table : tables)
    list.push_back({{"title", table.title},
                    {"note", table.note},
                    {"folded", table.folded},
                    {"columns", table.columns},
                    {"rows", table.rows}});
  return list;
}

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t at = text.find(from); at != std::string::npos;
       at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
}

}  // namespace

Json report_data(const ReportInput& input) {
  Documents documents;
  Json saes = Json::array();
  std::uint64_t left_bytes = input.example_bytes;
  for (std::size_t i = 0; i < input.saes.size(); ++i) {
    const ReportSae& sae = input.saes[i];
    Json data = {{"name", sae.name},
                 {"hook", sae.hook},
                 {"facts", pairs_data(sae.facts)},
                 {"notes", sae.notes},
                 {"metrics", metrics_data(sae.metrics)}};
    if (!sae.features.empty() && std::filesystem::exists(sae.features)) {
      const std::uint64_t share = left_bytes / (input.saes.size() - i);
      Json features = features_data(read_features(sae.features), share, documents);
      const std::uint64_t used =
          features["examples"].dump(-1, ' ', false, Json::error_handler_t::replace).size();
      left_bytes -= std::min(left_bytes, used);
      data.update(features);
    }
    saes.push_back(std::move(data));
  }
  return {{"title", input.title},          {"header", pairs_data(input.header)},
          {"licence", input.licence},      {"saes", std::move(saes)},
          {"documents", documents.list()}, {"tables", tables_data(input.tables)}};
}

Json history_data(const ReportInput& input) { return tables_data(input.history); }

std::string embeddable(const Json& data) {
  const LibraryCall call;
  std::string text = data.dump(-1, ' ', false, Json::error_handler_t::replace);
  std::string safe;
  safe.reserve(text.size());
  for (const char c : text) {
    if (c == '<')
      safe += "\\u003c";
    else
      safe.push_back(c);
  }
  replace_all(safe, "\xE2\x80\xA8", "\\u2028");
  replace_all(safe, "\xE2\x80\xA9", "\\u2029");
  return safe;
}

}  // namespace refract
