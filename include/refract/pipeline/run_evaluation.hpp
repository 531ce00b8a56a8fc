#pragma once
// What evaluation found of a run, read from its files: for the terminal, for programs, for the
// report.
#include <map>
#include <string>
#include <vector>

#include "refract/pipeline/run_config.hpp"
#include "refract/pipeline/run_folder.hpp"
#include "refract/stages/evaluation_text.hpp"

namespace refract {

// Names of the SAEs that differ in their seed alone, two at least, of each such family.
[[nodiscard]] std::vector<std::vector<std::string>> seed_families(const RunConfig& config);

class RunEvaluation {
 public:
  // Reads what there is. DataError names a file that is damaged.
  RunEvaluation(const RunConfig& config, const RunFolder& folder);

  [[nodiscard]] bool has(const std::string& sae) const { return evaluations_.contains(sae); }
  // The text of evaluation.json; it is there.
  [[nodiscard]] const std::string& text(const std::string& sae) const {
    return evaluations_.at(sae);
  }
  // Digest of the weights that were evaluated.
  [[nodiscard]] std::string weights(const std::string& sae) const;
  // Null where it is the only one of its kind, or not all of them are evaluated.
  [[nodiscard]] const SeedFamily* family(const std::string& sae) const;

  // Of every hook's statistics.
  [[nodiscard]] std::vector<TextTable> statistics_tables() const;
  // Every SAE and every hook, for a person.
  [[nodiscard]] std::string describe(const Advice& advice) const;
  // {"saes": [evaluation.json ...], "seeds": [...], "statistics": [...]}, one line.
  [[nodiscard]] std::string to_json() const;

 private:
  std::vector<std::string> names_;
  std::map<std::string, std::string> evaluations_;  // by SAE
  std::map<std::string, std::string> statistics_;   // by hook
  std::vector<SeedFamily> families_;
};

}  // namespace refract
