#include "refract/ops/decode_rows.hpp"

#include <gtest/gtest.h>

#include "refract/ops/add.hpp"
#include "support/gpu_entries.hpp"

namespace refract {
namespace {

using DecodeRowsOnGpu = test::EntriesOnGpu;

TEST_F(DecodeRowsOnGpu, adds_the_same_bytes_as_the_cpu_with_and_without_a_base) {
  std::size_t compared = 0;
  constexpr std::size_t kFeatures = 77;
  for (const std::size_t n : {0U, 1U, 33U, 130U})
    for (const std::size_t d_out : {1U, 31U, 32U, 33U, 127U, 129U, 300U})
      for (const bool with_base : {false, true}) {
        const test::EntryLists entries = test::drawn_entries(n, kFeatures, d_out),
                               uploaded = upload(entries);
        const Tensor<float> W_dec = test::normal_values({kFeatures, d_out}, 1),
                            W_there = upload(W_dec);
        const Tensor<float> base = with_base ? test::normal_values({n, d_out}, 2) : Tensor<float>(),
                            base_there = with_base ? upload(base) : Tensor<float>();
        const Tensor<float> out = test::normal_values({n, d_out}, 3), out_there = upload(out);

        decode_rows(uploaded.view(), W_there.cview(), base_there.cview(), out_there.view(), {},
                    stream);
        decode_rows(entries.view(), W_dec.cview(), base.cview(), out.view(), {}, host);

        compared += test::expect_same_bytes(download(out_there), out, "out");
      }
  EXPECT_EQ(compared, 2U * 164 * (1 + 31 + 32 + 33 + 127 + 129 + 300));
}

TEST_F(DecodeRowsOnGpu, keeps_to_bounds_and_adds_pieces_up) {
  std::size_t compared = 0;
  for (const FeatureBounds of :
       {FeatureBounds{0, 0}, FeatureBounds{0, 7}, FeatureBounds{7, 50}, FeatureBounds{50}}) {
    const test::EntryLists entries = test::drawn_entries(130, 77, 5), uploaded = upload(entries);
    const Tensor<float> W_dec = test::normal_values({77, 33}, 1), W_there = upload(W_dec),
                        base = test::normal_values({130, 33}, 2), base_there = upload(base),
                        out({130, 33}), out_there = upload(out);

    decode_rows(uploaded.view(), W_there.cview(), base_there.cview(), out_there.view(), {}, stream,
                of);
    decode_rows(entries.view(), W_dec.cview(), base.cview(), out.view(), {}, host, of);
    add(out_there.view(), base_there.cview(), stream);
    add(out.view(), base.cview(), host);

    compared += test::expect_same_bytes(download(out_there), out, "out");
  }
  EXPECT_EQ(compared, 4U * 130 * 33);
}

TEST_F(DecodeRowsOnGpu, does_nothing_where_the_count_it_is_given_is_0) {
  const test::EntryLists entries = test::drawn_entries(40, 20, 1), uploaded = upload(entries);
  const Tensor<float> W_dec = test::normal_values({20, 50}, 1), W_there = upload(W_dec);
  for (const std::uint64_t given : {0U, 3U}) {
    const Tensor<std::uint64_t> count({1});
    count.data()[0] = given;
    const Tensor<std::uint64_t> count_there = upload(count);
    const Tensor<float> out = test::normal_values({40, 50}, 2), before = upload(out),
                        out_there = upload(out);

    decode_rows(uploaded.view(), W_there.cview(), {}, out_there.view(), count_there.cview(),
                stream);
    decode_rows(entries.view(), W_dec.cview(), {}, out.view(), count.cview(), host);

    const Tensor<float> found = download(out_there);
    test::expect_same_bytes(found, out, "out");
    EXPECT_EQ(std::memcmp(found.data(), download(before).data(), 4 * found.size()) == 0,
              given == 0);
  }
}

TEST_F(DecodeRowsOnGpu, subtracts_sums_from_a_base_as_decoding_with_it_does) {
  std::size_t compared = 0;
  for (const std::size_t n : {0U, 1U, 33U, 1025U}) {
    const test::EntryLists uploaded = upload(test::drawn_entries(n, 20, 1));
    const Tensor<float> W_there = upload(test::normal_values({20, 33}, 1)),
                        base_there = upload(test::normal_values({n, 33}, 2));
    const Tensor<float> at_once({n, 33}, gpu), afterwards({n, 33}, gpu);

    decode_rows(uploaded.view(), W_there.cview(), base_there.cview(), at_once.view(), {}, stream);
    decode_rows(uploaded.view(), W_there.cview(), {}, afterwards.view(), {}, stream);
    subtract_from(base_there.cview(), afterwards.view(), stream);

    compared += test::expect_same_bytes(download(afterwards), download(at_once), "sums");
  }
  EXPECT_EQ(compared, 33U * 1059);
}

}  // namespace
}  // namespace refract
