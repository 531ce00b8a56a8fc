#pragma once
// The communicator that a distributed test runs on: the MPI world, or Loopback in the twin build.
#include "refract/comm/communicator.hpp"

namespace refract::test {

[[nodiscard]] Communicator& world();

}  // namespace refract::test
