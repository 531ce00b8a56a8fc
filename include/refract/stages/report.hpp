#pragma once
// One self-contained report.html: no network, all text escaped, light and dark, a few megabytes.
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "refract/stages/features.hpp"
#include "refract/stages/text_table.hpp"

namespace refract {

struct ReportConfig {
  std::string file = "report.html";  // inside the run's folder
};

struct ReportSae {
  std::string name, hook;
  std::vector<std::pair<std::string, std::string>>
      facts;                       // shown in its card: ("variant", "topk"), ("k", "16") ...
  std::vector<std::string> notes;  // what is not there yet: "not probed yet"
  std::filesystem::path features;  // features/<name>.h5; empty or absent = not probed
  std::filesystem::path
      metrics;  // saes/<name>/metrics.jsonl: one object per visit with any of
                // visit, tokens, mse, r2, l0, density, dead_rate, and <key>_lo, <key>_hi
};

struct ReportInput {
  std::string title;  // e.g. the run's name
  std::vector<std::pair<std::string, std::string>>
      header;  // model, hooks, corpus, rows ...: deterministic facts
  std::vector<ReportSae> saes;
  std::vector<TextTable> tables;   // final evaluation: baselines, CE loss recovered ...
  std::vector<TextTable> history;  // run history: attempts, times. The only part that
                                   // may differ between equal runs; shown last
  std::string licence = "Text from Wikipedia, CC BY-SA; see links";
  std::uint64_t example_bytes = 6u << 20;  // budget for embedded examples, all SAEs together
};

// The page. DataError, with what to do, when a file that is there cannot be read. Stop points
// throughout (base/stop.hpp).
[[nodiscard]] std::string make_report(const ReportInput& input);

}  // namespace refract
