#include "refract/ops/refine_entries.hpp"

#include <gtest/gtest.h>

#include "support/gpu_entries.hpp"

namespace refract {
namespace {

constexpr std::size_t kFeatures = 77;

class RefineEntriesOnGpu : public test::EntriesOnGpu {
 protected:
  std::size_t compare(std::size_t n, Refinement::Kind kind) {
    const test::EntryLists from = test::drawn_entries(n, kFeatures, 3), from_there = upload(from);
    const Tensor<float> first = test::normal_values({kFeatures}, 1),
                        second = test::normal_values({kFeatures}, 2),
                        third = test::normal_values({kFeatures}, 3);
    const Tensor<float> first_there = upload(first), second_there = upload(second),
                        third_there = upload(third);
    const RowEntriesBuffer to(n, 0, from.values.size(), host),
        to_there(n, 0, from.values.size(), stream);
    const auto rule = [&](const Tensor<float>& a, const Tensor<float>& b, const Tensor<float>& c) {
      return Refinement{.kind = kind,
                        .threshold = a.cview(),
                        .half_width = 0.4F,
                        .b_gate = a.cview(),
                        .b_mag = b.cview(),
                        .r_mag = c.cview()};
    };
    refine_entries(from.view(), rule(first, second, third), to.view(), host);
    refine_entries(from_there.view(), rule(first_there, second_there, third_there), to_there.view(),
                   stream);
    const RowEntries here = to.view(), there = to_there.view();
    std::size_t compared = 0;
    const auto starts = download(there.starts);
    const auto counts = download(there.counts);
    const auto features = download(there.features);
    const auto values = download(there.values);
    EXPECT_EQ(download(there.used).data()[0], here.used.data()[0]);
    for (std::size_t row = 0; row < n; ++row) {
      EXPECT_EQ(counts.data()[row], here.counts.data()[row]);
      const std::uint64_t at = here.starts.data()[row];
      EXPECT_EQ(starts.data()[row], at);
      const std::size_t count = here.counts.data()[row];
      compared += test::expect_same_bytes(features.data() + at, here.features.data() + at, count,
                                          "features");
      test::expect_same_bytes(values.data() + at, here.values.data() + at, count, "values");
    }
    return compared;
  }
};

TEST_F(RefineEntriesOnGpu, keeps_what_the_cpu_keeps) {
  for (const auto kind :
       {Refinement::Kind::above, Refinement::Kind::window, Refinement::Kind::gate}) {
    std::size_t compared = 0;
    for (const std::size_t n : {0U, 1U, 31U, 33U, 1025U}) compared += compare(n, kind);
    EXPECT_GT(compared, 1000U) << static_cast<int>(kind);
  }
}

}  // namespace
}  // namespace refract
