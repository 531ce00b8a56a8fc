#pragma once
#include <string_view>

namespace refract {

// configs/advice.yaml as it was when this was built.
[[nodiscard]] std::string_view advice_file();

}  // namespace refract
