#pragma once
// Evaluations for a person, from their files: every number with both its error bars and what of it
// is good.
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "refract/metrics/advice.hpp"
#include "refract/stages/text_table.hpp"

namespace refract {

// DataError when the text of an evaluation.json is not as the format has it; all below take one
// that is.
void expect_evaluation(const std::string& text);

// How a number varies between SAEs that differ in their seed alone: 95 % interval of its mean by
// Student's t.
struct SeedInterval {
  double mean = 0, low = 0, high = 0;
};
struct SeedFamily {
  std::vector<std::string> names;               // of the SAEs, two at least
  std::map<std::string, SeedInterval> numbers;  // by "inference.r2", "baselines.pca.r2", ...
};

// evaluations: the texts of evaluation.json of the family's SAEs, in the order of `names`. Numbers
// that not all of them have are left out.
[[nodiscard]] SeedFamily seed_family(std::vector<std::string> names,
                                     const std::vector<std::string>& evaluations);

// Lines of tables; family: null where there is one seed.
[[nodiscard]] std::string describe_evaluation(const std::string& evaluation, const Advice& advice,
                                              const SeedFamily* family);

// One row of the table of an evaluation, for whoever shows it elsewhere.
struct EvaluationRow {
  std::string section, metric, title, value, documents, seeds;
  std::string random;  // of the frozen-random SAE; of a random dictionary in section "decoder"
  std::string verdict, good, sentence;
};
[[nodiscard]] std::vector<EvaluationRow> evaluation_rows(const std::string& evaluation,
                                                         const Advice& advice,
                                                         const SeedFamily* family);

// A table for each section of those rows.
[[nodiscard]] std::vector<TextTable> number_tables(const std::string& evaluation,
                                                   const Advice& advice, const SeedFamily* family);
// Advice, baselines and drift, where there are any.
[[nodiscard]] std::vector<TextTable> evaluation_tables(const std::string& evaluation,
                                                       const SeedFamily* family);

}  // namespace refract
