#pragma once
#include <memory>

#include "comm/communicator_body.hpp"

namespace refract {

[[nodiscard]] std::unique_ptr<CommunicatorBody> duplicate_world();

}  // namespace refract
