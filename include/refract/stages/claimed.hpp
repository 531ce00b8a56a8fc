#pragma once
// The claim on a file of data_root that several jobs may want to make: waited for while another is
// at it. Look again whether the file is there once it is taken.
#include <filesystem>
#include <functional>
#include <string_view>

#include "refract/store/claim.hpp"

namespace refract {

// tick() is called while it waits, and a wait of seconds is said with the owner; StopRequested when
// a stop was asked for meanwhile.
[[nodiscard]] Claim claim_of(const std::filesystem::path& file, std::string_view stage,
                             const std::function<void()>& tick);

}  // namespace refract
