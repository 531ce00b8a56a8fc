#include "refract/base/error.hpp"
#include "refract/comm/exchange.hpp"
#include "support/gpu.hpp"
#include "support/world.hpp"

namespace refract {
namespace {

using SharedGpu = test::OnGpu;

TEST_F(SharedGpu, is_refused_on_every_rank_with_the_ranks_that_share_it) {
  std::string message;

  try {
    (void)make_exchange(test::world(), gpu);
  } catch (const SystemError& error) {
    message = error.what();
  }

  EXPECT_NE(message.find("ranks 0 and 1 share GPU"), std::string::npos) << message;
}

}  // namespace
}  // namespace refract
