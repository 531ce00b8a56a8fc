#include "support/exchange_suite.hpp"

#include <fmt/format.h>

#include "comm/nccl_exchange.hpp"
#include "support/gpu.hpp"
#include "support/world.hpp"

namespace refract::test {

// Rank r on device r of this machine.
ExchangeSite exchange_site() {
  const int ranks = world().size(), devices = cuda_device_count();
  ExchangeSite site{{DeviceKind::cuda, world().rank()}, ""};
  if (devices == 0)
    site.skip = kNoDevice;
  else if (devices < ranks)
    site.skip =
        fmt::format("{} ranks need as many CUDA devices; this machine has {}", ranks, devices);
  return site;
}

// NCCL on one rank too, where make_exchange() would take Loopback.
std::unique_ptr<Exchange> collective_site_exchange(Wire wire) {
  return std::make_unique<Exchange>(collective_make_nccl_exchange(world(), world().rank(), wire));
}

}  // namespace refract::test
