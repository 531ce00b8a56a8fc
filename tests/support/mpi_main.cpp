// main() of the tests that run on several ranks. Rank 0 prints as GoogleTest does; the others print
// only what failed, with their rank. The program fails on every rank when a case failed on any.
#include <gtest/gtest.h>

#include <cstdio>

#include "refract/comm/environment.hpp"
#include "support/world.hpp"

namespace {

refract::Communicator* world_communicator = nullptr;

class RankPrinter : public testing::EmptyTestEventListener {
 public:
  explicit RankPrinter(int rank) : rank_(rank) {}
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    std::fprintf(stderr, "rank %d: %s:%d\n%s\n", rank_,
                 result.file_name() ? result.file_name() : "?", result.line_number(),
                 result.message());
  }

 private:
  int rank_;
};

}  // namespace

refract::Communicator& refract::test::world() { return *world_communicator; }

int main(int argc, char** argv) {
  refract::Environment environment(argc, argv);
  testing::InitGoogleTest(&argc, argv);
  refract::Communicator world = environment.world();
  world_communicator = &world;
  if (world.rank() != 0) {
    auto& listeners = testing::UnitTest::GetInstance()->listeners();
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new RankPrinter(world.rank()));  // owned by GoogleTest from here on
  }

  const int mine = RUN_ALL_TESTS();

  const bool failed = world.all_reduce_max(mine != 0 ? 1 : 0) != 0;
  return failed ? 1 : 0;
}
