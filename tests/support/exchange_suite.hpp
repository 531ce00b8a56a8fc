#pragma once
// One suite for every body of Exchange: exchange_suite.cpp holds the cases; who links it says where
// its tensors live and which body is tried, and test::world() says between which ranks.
#include <memory>
#include <string>

#include "refract/comm/exchange.hpp"

namespace refract::test {

struct ExchangeSite {
  Device device;
  std::string skip;  // why the cases cannot run here; empty where they can
};
[[nodiscard]] ExchangeSite exchange_site();
[[nodiscard]] std::unique_ptr<Exchange> collective_site_exchange(Wire wire);

}  // namespace refract::test
