#pragma once
// The NCCL body of Exchange, called only where has_nccl holds.
#include <memory>

#include "refract/comm/exchange.hpp"

namespace refract {

[[nodiscard]] std::unique_ptr<Exchange> collective_make_nccl_exchange(Communicator& communicator,
                                                                      int device);

}  // namespace refract
