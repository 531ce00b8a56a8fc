#pragma once
// A stage's own claim on one file, waited for while another job is at it.
#include <filesystem>
#include <functional>
#include <string_view>

#include "refract/store/claim.hpp"

namespace refract {

// tick() is called while it waits; StopRequested when a stop was asked for meanwhile.
[[nodiscard]] Claim claim_of(const std::filesystem::path& file, std::string_view stage,
                             const std::function<void()>& tick);

}  // namespace refract
