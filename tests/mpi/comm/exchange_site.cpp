#include "support/exchange_suite.hpp"

#include "comm/mpi_exchange.hpp"
#include "support/world.hpp"

namespace refract::test {

// Host memory, on any machine.
ExchangeSite exchange_site() { return {}; }

// The MPI body on one rank too, where make_exchange() would take Loopback.
std::unique_ptr<Exchange> collective_site_exchange(Wire wire) {
  if (!world().native_mpi()) return make_exchange(world(), {}, wire);
  return std::make_unique<Exchange>(make_mpi_exchange(world().native_mpi(), wire));
}

}  // namespace refract::test
