#pragma once
// One suite for every body of Exchange: exchange_suite.cpp holds the cases; who links it says where
// its buffers live, and test::world() says between which ranks.
#include <string>

#include "refract/device/device.hpp"

namespace refract::test {

struct ExchangeSite {
  Device device;
  std::string skip;  // why the cases cannot run here; empty where they can
};
[[nodiscard]] ExchangeSite exchange_site();

}  // namespace refract::test
