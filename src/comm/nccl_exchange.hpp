#pragma once
// The NCCL body of Exchange, called only where has_nccl holds.
#include <memory>

#include "comm/exchange_body.hpp"

namespace refract {

[[nodiscard]] std::unique_ptr<ExchangeBody> collective_make_nccl_exchange(
    Communicator& communicator, int device, Wire wire);

}  // namespace refract
