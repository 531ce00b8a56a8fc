// The twin of mpi_main.cpp: the same cases in one process, without MPI.
#include <gtest/gtest.h>

#include "support/world.hpp"

namespace {

refract::Communicator* world_communicator = nullptr;

}  // namespace

refract::Communicator& refract::test::world() { return *world_communicator; }

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  refract::Communicator world = refract::Communicator::loopback();
  world_communicator = &world;
  return RUN_ALL_TESTS();
}
