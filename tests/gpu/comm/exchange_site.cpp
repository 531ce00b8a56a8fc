#include "support/exchange_suite.hpp"

#include <fmt/format.h>

#include "support/gpu.hpp"
#include "support/world.hpp"

// Rank r on device r of this machine.
refract::test::ExchangeSite refract::test::exchange_site() {
  const int ranks = world().size(), devices = cuda_device_count();
  ExchangeSite site{{DeviceKind::cuda, world().rank()}, ""};
  if (devices == 0)
    site.skip = kNoDevice;
  else if (devices < ranks)
    site.skip =
        fmt::format("{} ranks need as many CUDA devices; this machine has {}", ranks, devices);
  return site;
}
