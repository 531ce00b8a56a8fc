#include "comm/gpu_of_rank.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "refract/base/build_info.hpp"
#include "refract/base/error.hpp"
#include "refract/comm/exchange.hpp"

namespace refract {
namespace {

GpuOfRank gpu(const std::string& host, const std::string& bus_id, const std::string& failure = "") {
  GpuOfRank out;
  set_text(out.host, host);
  set_text(out.bus_id, bus_id);
  set_text(out.failure, failure);
  return out;
}

TEST(GpuOfRank, is_content_when_every_rank_has_its_own) {
  EXPECT_EQ(gpu_conflict(std::vector{gpu("n1", "0000:17:00.0")}), "");
  EXPECT_EQ(
      gpu_conflict(std::vector{gpu("n1", "17:00.0"), gpu("n1", "65:00.0"), gpu("n2", "17:00.0")}),
      "");
}

TEST(GpuOfRank, names_the_ranks_that_share_a_gpu_and_what_to_do) {
  const std::string text = gpu_conflict(
      std::vector{gpu("n1", "0000:17:00.0"), gpu("n2", "0000:17:00.0"), gpu("n1", "0000:17:00.0")});

  EXPECT_NE(text.find("ranks 0 and 2 share GPU 0000:17:00.0 of host n1"), std::string::npos)
      << text;
  EXPECT_NE(text.find("Start no more ranks on a host than it has GPUs"), std::string::npos) << text;
  EXPECT_EQ(text.find('\n'), std::string::npos);
}

TEST(GpuOfRank, names_the_rank_without_a_device_before_anything_else) {
  const std::string text = gpu_conflict(std::vector{
      gpu("n1", "17:00.0"), gpu("n1", "17:00.0"), gpu("n9", "", "CUDA device 3: invalid device")});

  EXPECT_NE(text.find("rank 2 on host n9 cannot use its GPU: CUDA device 3: invalid"),
            std::string::npos)
      << text;
}

TEST(GpuOfRank, cuts_long_texts_at_the_end_of_their_room) {
  EXPECT_EQ(std::string(gpu(std::string(500, 'h'), "0").host.data()), std::string(63, 'h'));
}

TEST(MakeExchange, refuses_a_device_that_this_build_or_machine_lacks) {
  Communicator alone = Communicator::loopback();
  const Device absent{DeviceKind::cuda, 4096};

  try {
    (void)make_exchange(alone, absent);
    FAIL() << "device 4096 was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), has_cuda ? ExitCode::system : ExitCode::not_built) << error.what();
    const std::string text = error.what();
    EXPECT_NE(text.find(has_cuda ? "rank 0 on host" : "no CUDA"), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace refract
