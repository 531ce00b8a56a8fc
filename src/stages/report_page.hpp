#pragma once
// The fixed parts of report.html. Everything a run says enters as data and is shown through
// textContent.
#include <string_view>

namespace refract {

[[nodiscard]] std::string_view report_style();   // CSS
[[nodiscard]] std::string_view report_body();    // HTML without scripts
[[nodiscard]] std::string_view report_script();  // JavaScript

}  // namespace refract
