#pragma once
// The machine that this process runs on.
#include <string>

namespace refract {

// Of this machine since it was started: one word; "-" where the system does not tell.
[[nodiscard]] std::string boot_id();

}  // namespace refract
