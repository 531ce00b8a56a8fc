#include "refract/stages/evaluation_text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "refract/base/error.hpp"
#include "refract/base/progress.hpp"
#include "refract/stages/baselines.hpp"

namespace refract {
namespace {

using Json = nlohmann::ordered_json;

Json parsed(const std::string& text) {
  Json json = Json::parse(text, nullptr, false);
  if (!json.is_object() || json.value("schema", "") != "evaluation")
    throw DataError("{} bytes are no evaluation written by refract. Run refract evaluate.",
                    text.size());
  return json;
}

// 97.5 % point of Student's t with n degrees of freedom (Fisher and Yates, table III); from 31 on
// the normal distribution's is within 4 %.
double student_t(std::size_t n) {
  constexpr std::array kPoints{12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306,
                               2.262,  2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
                               2.110,  2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064,
                               2.060,  2.056, 2.052, 2.048, 2.045, 2.042};
  return n <= kPoints.size() ? kPoints[n - 1] : 1.96;
}

SeedInterval interval_of(const std::vector<double>& values) {
  const auto n = static_cast<double>(values.size());
  double mean = 0, squares = 0;
  for (const double value : values) mean += value / n;
  for (const double value : values) squares += (value - mean) * (value - mean);
  const double half = student_t(values.size() - 1) * std::sqrt(squares / (n - 1)) / std::sqrt(n);
  return {mean, mean - half, mean + half};
}

bool is_bound(const std::string& key) { return key.ends_with("_lo") || key.ends_with("_hi"); }

// Every number of the parts that hold numbers, by "<part>.<metric>".
void flatten(const Json& part, const std::string& prefix, std::map<std::string, double>& numbers) {
  for (const auto& [key, value] : part.items()) {
    if (value.is_object()) flatten(value, prefix + "." + key, numbers);
    if (value.is_number() && !is_bound(key)) numbers[prefix + "." + key] = value.get<double>();
  }
}
std::map<std::string, double> numbers_of(const Json& evaluation) {
  std::map<std::string, double> numbers;
  for (const char* part : {"inference", "training_mode", "training", "decoder", "chance",
                           "baselines", "spliced_loss", "random_spliced_loss"})
    if (evaluation.contains(part)) flatten(evaluation.at(part), part, numbers);
  return numbers;
}

std::string number(double value) {
  const double size = std::abs(value);
  if (value == std::floor(value) && size < 1e7) return fmt::format("{:.0f}", value);
  return size >= 0.0001 && size < 1e7 ? fmt::format("{:.5g}", value) : fmt::format("{:.3g}", value);
}
std::string interval(double low, double high) {
  return fmt::format("{} to {}", number(low), number(high));
}

std::string over_seeds(const SeedFamily* family, const std::string& number_of) {
  if (!family) return {};
  const auto found = family->numbers.find(number_of);
  return found == family->numbers.end() ? std::string()
                                        : interval(found->second.low, found->second.high);
}

// "too high"; "watch, below".
std::string said(const Json& verdict) {
  std::string state = verdict.at("state");
  std::ranges::replace(state, '_', ' ');
  if (state == "watch" && verdict.at("side") != "inside")
    state += ", " + verdict.at("side").get<std::string>();
  return state;
}

// One evaluation on its way into rows.
class Rows {
 public:
  Rows(const Json& evaluation, const Advice& advice, const SeedFamily* family)
      : evaluation_(evaluation), advice_(advice), family_(family) {}

  void add_part(const char* part, const std::string& section) {
    if (!evaluation_.contains(part)) return;
    const Json& report = evaluation_.at(part);
    for (const auto& [key, value] : report.items()) {
      const bool known = report.contains(key + "_lo") || (advice_.find(key) && value.is_number());
      if (!known || is_bound(key)) continue;
      EvaluationRow row = begin(section, key, value.get<double>());
      if (report.contains(key + "_lo"))
        row.documents = interval(report.at(key + "_lo"), report.at(key + "_hi"));
      row.random = random_value(part, key);
      row.seeds = over_seeds(part, key);
      rows_.push_back(std::move(row));
    }
  }
  void add_number(const std::string& section, const char* part, const std::string& metric,
                  double value) {
    EvaluationRow row = begin(section, metric, value);
    row.seeds = over_seeds(part, metric);
    rows_.push_back(std::move(row));
  }
  [[nodiscard]] std::vector<EvaluationRow> take() { return std::move(rows_); }

 private:
  [[nodiscard]] std::string over_seeds(const char* part, const std::string& key) const {
    return refract::over_seeds(family_, fmt::format("{}.{}", part, key));
  }
  // The same number of what was never trained.
  [[nodiscard]] std::string random_value(std::string_view part, const std::string& key) const {
    const std::string from = part == "decoder"        ? "/chance/"
                             : part == "inference"    ? "/baselines/random/"
                             : part == "spliced_loss" ? "/random_spliced_loss/"
                                                      : "/none/";
    const nlohmann::json::json_pointer at(from + key);
    return evaluation_.contains(at) ? number(evaluation_.at(at)) : std::string();
  }
  [[nodiscard]] EvaluationRow begin(const std::string& section, const std::string& metric,
                                    double value) const {
    EvaluationRow row;
    row.section = section;
    row.metric = row.title = metric;
    row.value = number(value);
    if (const AdviceRule* rule = advice_.find(metric)) {
      row.title = rule->title;
      row.sentence = rule->meaning;
    }
    if (section == kTrainingMode) return row;  // the rules are for what is exported
    for (const Json& verdict : evaluation_.value("verdicts", Json::array())) {
      if (verdict.at("metric") != metric) continue;
      row.verdict = said(verdict);
      row.good = verdict.at("good").get<std::string>();
    }
    return row;
  }

 public:
  static constexpr const char* kTrainingMode = "as training selects";

 private:
  const Json& evaluation_;
  const Advice& advice_;
  const SeedFamily* family_;
  std::vector<EvaluationRow> rows_;
};

std::vector<EvaluationRow> rows_of(const Json& evaluation, const Advice& advice,
                                   const SeedFamily* family) {
  Rows rows(evaluation, advice, family);
  rows.add_part("inference", "held-out rows");
  if (evaluation.contains("training"))
    rows.add_number("held-out rows", "training", "dead_training",
                    evaluation.at("training").at("dead_training"));
  rows.add_part("training_mode", Rows::kTrainingMode);
  rows.add_part("decoder", "decoder");
  rows.add_part("spliced_loss", "loss of the model with the SAE spliced in");
  return rows.take();
}

// Columns as wide as their widest cell; the last is not padded.
std::string table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows)
    for (std::size_t c = 0; c < row.size(); ++c) {
      widths.resize(std::max(widths.size(), c + 1), 0);
      widths[c] = std::max(widths[c], row[c].size());
    }
  std::string text;
  for (const auto& row : rows) {
    std::string line = " ";
    for (std::size_t c = 0; c < row.size(); ++c)
      line += c + 1 == row.size() ? " " + row[c] : fmt::format(" {:<{}} ", row[c], widths[c]);
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
}

// What a section's numbers were measured on.
std::string measured_on(const Json& evaluation, const std::string& section) {
  const auto rows = [&](const char* part, std::string_view what) {
    return fmt::format("{} {} of {} documents", evaluation.at(part).at("rows").get<std::uint64_t>(),
                       what, evaluation.at(part).at("documents").get<std::uint64_t>());
  };
  if (section == "decoder")
    return fmt::format("{} pairs of features", evaluation.at("decoder").at("pairs").get<double>());
  if (section.starts_with("loss")) return rows("spliced_loss", "predicted tokens");
  return rows(section == Rows::kTrainingMode ? "training_mode" : "inference", "rows");
}

std::vector<TextTable> sections_of(const Json& evaluation, const std::vector<EvaluationRow>& rows,
                                   const SeedFamily* family) {
  std::vector<TextTable> tables;
  for (const EvaluationRow& row : rows) {
    if (tables.empty() || tables.back().title != row.section) {
      TextTable& table = tables.emplace_back();
      table.title = row.section;
      table.note = measured_on(evaluation, row.section);
      table.columns = {"measure", "value", "over documents"};
      if (family) table.columns.push_back(fmt::format("over {} seeds", family->names.size()));
      for (const char* column : {"random", "verdict", "good", "what it says"})
        table.columns.emplace_back(column);
    }
    std::vector<std::string>& cells = tables.back().rows.emplace_back();
    cells = {row.title, row.value, row.documents};
    if (family) cells.push_back(row.seeds);
    for (const std::string& cell : {row.random, row.verdict, row.good, row.sentence})
      cells.push_back(cell);
  }
  return tables;
}

void add_baselines(const Json& evaluation, const SeedFamily* family,
                   std::vector<TextTable>& tables) {
  const Json& baselines = evaluation.at("baselines");
  if (baselines.empty()) return;
  TextTable& table = tables.emplace_back();
  table.title = "baselines at equal L0, on the same rows";
  table.columns = {"baseline", "R2", "over documents"};
  if (family) table.columns.push_back(fmt::format("over {} seeds", family->names.size()));
  for (const char* column : {"L0", "of components", "what it is"})
    table.columns.emplace_back(column);
  const auto add = [&](const std::string& name, const std::string& part, const Json& report,
                       const Json& components, std::string meaning) {
    std::vector<std::string>& row = table.rows.emplace_back();
    row = {name, number(report.at("r2")), interval(report.at("r2_lo"), report.at("r2_hi"))};
    if (family) row.push_back(over_seeds(family, part + ".r2"));
    row.insert(row.end(), {number(report.at("l0")), components.dump(), std::move(meaning)});
  };
  add(evaluation.at("name"), "inference", evaluation.at("inference"), evaluation.at("d_sae"),
      "this SAE");
  for (const auto& [name, report] : baselines.items()) {
    const auto row = std::ranges::find(baseline_table(), name, &BaselineRow::name);
    std::string meaning(row == baseline_table().end() ? std::string_view() : row->meaning);
    if (report.contains("converged") && !report.at("converged").get<bool>())
      meaning += fmt::format(" (not converged after {} iterations)",
                             report.at("iterations").get<std::uint64_t>());
    add(name, "baselines." + name, report, report.at("components"), std::move(meaning));
  }
}

void add_drift(const Json& evaluation, std::vector<TextTable>& tables) {
  const Json& drift = evaluation.at("drift");
  if (drift.empty()) return;
  TextTable& table = tables.emplace_back();
  table.title = "drift: each feature's direction against its own at an earlier checkpoint";
  table.columns = {"since", "cosine of decoder rows", "5th percentile", "moved (below 0.9)"};
  for (const Json& since : drift)
    table.rows.push_back(
        {since.at("checkpoint"), number(since.at("decoder").at("cosine_mean")),
         number(since.at("decoder").at("cosine_p05")),
         fmt::format("{:.1f} %", 100 * since.at("decoder").at("share_drifted").get<double>())});
}

std::vector<TextTable> tables_of(const Json& evaluation, const SeedFamily* family) {
  std::vector<TextTable> tables;
  add_baselines(evaluation, family, tables);
  add_drift(evaluation, tables);
  return tables;
}

void add_advice(const Json& evaluation, std::vector<TextTable>& tables) {
  TextTable table{.title = "advice",
                  .note = "",
                  .columns = {"measure", "value", "verdict", "good", "do", "published", "notes"},
                  .rows = {}};
  for (const Json& verdict : evaluation.value("verdicts", Json::array())) {
    const std::string state = verdict.at("state");
    if (state == "good") continue;
    std::string notes;
    for (const Json& note : verdict.at("notes"))
      notes += (notes.empty() ? "" : "; ") + note.get<std::string>();
    table.rows.push_back({verdict.at("title"), number(verdict.at("value")), said(verdict),
                          verdict.at("good"), verdict.at("fix"), verdict.at("field"), notes});
  }
  if (!table.rows.empty()) tables.push_back(std::move(table));
}

std::string advice_text(const Json& evaluation) {
  std::string text;
  for (const Json& verdict : evaluation.value("verdicts", Json::array())) {
    const std::string state = verdict.at("state");
    if (state == "good" || (state == "not_applicable" && verdict.at("notes").empty())) continue;
    text += fmt::format("  {} is {}: {}", verdict.at("title").get<std::string>(),
                        number(verdict.at("value")), said(verdict));
    if (!verdict.at("good").get<std::string>().empty())
      text += fmt::format(" (good: {})", verdict.at("good").get<std::string>());
    text += "\n";
    const auto line = [&](std::string_view what, const std::string& said) {
      if (!said.empty()) text += fmt::format("    {:<10}{}\n", what, said);
    };
    line("do", verdict.at("fix"));
    line("field", verdict.at("field"));
    if (verdict.contains("control"))
      line("control", number(verdict.at("control")) + " (frozen-random SAE)");
    if (verdict.contains("chance"))
      line("chance", number(verdict.at("chance")) + " (random dictionary)");
    for (const Json& note : verdict.at("notes")) line("note", note);
  }
  return text.empty() ? "\nadvice: nothing to change by the rules\n" : "\nadvice\n" + text;
}

}  // namespace

void expect_evaluation(const std::string& text) {
  try {
    const Json evaluation = parsed(text);
    for (const char* number : {"d_in", "d_sae"}) (void)evaluation.at(number).get<double>();
    (void)rows_of(evaluation, Advice::load(""), nullptr);
    (void)measured_on(evaluation, "held-out rows");
    (void)evaluation.at("inference").at("unseen_at_most").get<double>();
    (void)tables_of(evaluation, nullptr);
    (void)advice_text(evaluation);
  } catch (const Json::exception&) {
    throw DataError("{} bytes are no evaluation written by refract. Run refract evaluate.",
                    text.size());
  }
}

SeedFamily seed_family(std::vector<std::string> names,
                       const std::vector<std::string>& evaluations) {
  SeedFamily family{.names = std::move(names), .numbers = {}};
  std::map<std::string, std::vector<double>> all;
  for (const std::string& evaluation : evaluations)
    for (const auto& [name, value] : numbers_of(parsed(evaluation))) all[name].push_back(value);
  for (const auto& [name, values] : all)
    if (values.size() == evaluations.size() && values.size() > 1)
      family.numbers[name] = interval_of(values);
  return family;
}

std::vector<EvaluationRow> evaluation_rows(const std::string& evaluation, const Advice& advice,
                                           const SeedFamily* family) {
  return rows_of(parsed(evaluation), advice, family);
}

std::vector<TextTable> number_tables(const std::string& evaluation, const Advice& advice,
                                     const SeedFamily* family) {
  const Json json = parsed(evaluation);
  return sections_of(json, rows_of(json, advice, family), family);
}

std::vector<TextTable> evaluation_tables(const std::string& evaluation, const SeedFamily* family) {
  const Json json = parsed(evaluation);
  std::vector<TextTable> tables;
  add_advice(json, tables);
  std::ranges::move(tables_of(json, family), std::back_inserter(tables));
  return tables;
}

std::string describe_evaluation(const std::string& evaluation, const Advice& advice,
                                const SeedFamily* family) {
  const Json json = parsed(evaluation);
  const auto d_in = json.at("d_in").get<double>(), d_sae = json.at("d_sae").get<double>();
  std::string text =
      fmt::format("{}: {}, {} features of {} dimensions (x{:.3g}), {}",
                  json.at("name").get<std::string>(), json.at("variant").get<std::string>(), d_sae,
                  d_in, d_sae / d_in, json.at("hook").get<std::string>());
  const bool transcoder = json.contains("target_hook");
  text += transcoder
              ? fmt::format(" to the {} dimensions of {}\n", json.at("d_out").get<std::uint64_t>(),
                            json.at("target_hook").get<std::string>())
              : "\n";
  text += "Intervals are 95 %: over documents by bootstrap";
  text += family ? fmt::format(", over seeds ({}) of the mean by Student's t.\n",
                               fmt::join(family->names, ", "))
                 : ".\n";
  text += transcoder ? "Baselines read what they reconstruct, so a transcoder has none. random: of "
                       "the decoder, a random dictionary of its shape.\n"
                     : "random: the frozen-random SAE at the same L0; of the decoder, a random "
                       "dictionary of its shape.\n";
  const auto add = [&](const TextTable& of) {
    std::vector<std::vector<std::string>> cells{of.columns};
    cells.insert(cells.end(), of.rows.begin(), of.rows.end());
    text +=
        fmt::format("\n{}{}{}\n{}", of.title, of.note.empty() ? "" : ": ", of.note, table(cells));
  };
  for (const TextTable& of : sections_of(json, rows_of(json, advice, family), family)) add(of);
  text += fmt::format(
      "  A feature that fired in none of {} rows fires in less than {:.2g} of all rows (95 %).\n",
      json.at("inference").at("rows").get<std::uint64_t>(),
      json.at("inference").at("unseen_at_most").get<double>());
  for (const TextTable& of : tables_of(json, family)) add(of);
  return text + advice_text(json);
}

}  // namespace refract
