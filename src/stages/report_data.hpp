#pragma once
// What a run says, as the JSON that the page shows.
#include <nlohmann/json.hpp>
#include <string>

#include "refract/stages/report.hpp"

namespace refract {

// The deterministic part: header, SAEs with features, curves and examples, tables.
[[nodiscard]] nlohmann::ordered_json report_data(const ReportInput& input);
// The only part that may differ between equal runs.
[[nodiscard]] nlohmann::ordered_json history_data(const ReportInput& input);
// JSON text that is safe inside a script element: no '<', no U+2028 or U+2029, ill-formed UTF-8
// replaced.
[[nodiscard]] std::string embeddable(const nlohmann::ordered_json& data);

}  // namespace refract
