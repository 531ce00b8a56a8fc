// Runs every case under several schedules: the iterations of GoogleTest's --gtest_repeat, each with
// the next seed. REFRACT_TEST_SEED=N runs schedule N alone.
#include <gtest/gtest.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "emulated/block.hpp"
#include "refract/base/build_info.hpp"

static_assert(refract::has_cuda, "the emulated build_info.hpp must be found first");

namespace {

constexpr int kSchedules = 3;

class Schedules : public testing::EmptyTestEventListener {
 public:
  explicit Schedules(std::uint64_t first) : first_(first) {}
  void OnTestIterationStart(const testing::UnitTest&, int iteration) override {
    refract::emulated::set_seed(first_ + static_cast<std::uint64_t>(iteration));
  }
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (result.failed())
      std::printf("the schedule was that of REFRACT_TEST_SEED=%llu\n",
                  static_cast<unsigned long long>(refract::emulated::seed()));
  }

 private:
  std::uint64_t first_;
};

}  // namespace

int main(int argc, char** argv) {
  const char* given = std::getenv("REFRACT_TEST_SEED");
  testing::GTEST_FLAG(repeat) = given ? 1 : kSchedules;
  testing::InitGoogleTest(&argc, argv);
  testing::UnitTest::GetInstance()->listeners().Append(
      new Schedules(given ? std::stoull(given) : 1));
  return RUN_ALL_TESTS();
}
