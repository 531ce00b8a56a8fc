// The statistics of several ranks are those of one, to the last digit.
#include "refract/stages/statistics.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/parallel.hpp"
#include "refract/base/random.hpp"
#include "support/heldout_rows.hpp"
#include "support/shared_folder.hpp"
#include "support/world.hpp"

namespace refract {
namespace {

using test::HeldoutRows;
using test::world;

constexpr std::size_t kDim = 70;  // three tiles, two of them padded
const std::vector<TokenClass> kClasses = {TokenClass::word_start,  TokenClass::inside_word,
                                          TokenClass::number,      TokenClass::punctuation,
                                          TokenClass::white_space, TokenClass::other};

// Documents of 37 rows in contexts of their own; one dimension is large in the first rows of each.
HeldoutRows drawn_rows(std::size_t rows) {
  const CounterRng rng(Purpose::test, {21});
  HeldoutRows out;
  std::vector<float> row(kDim);
  for (std::size_t i = 0; i < rows; ++i) {
    const auto position = static_cast<std::uint32_t>(i % 37);
    for (std::size_t j = 0; j < kDim; ++j)
      row[j] = static_cast<float>((1 + static_cast<double>(j % 5)) * rng.normal(i * kDim + j)) + 2;
    if (position < 3) row[11] += 300;
    const bool is_bos = position == 0;
    out.add(i / 37, position, is_bos ? kNoDocumentPosition : position - 1,
            static_cast<std::uint32_t>(rng.below(i, 7)), is_bos ? kExcludedBos : 0, i % 100 == 50,
            row);
  }
  return out;
}

HookCalibration drawn_calibration() {
  HookCalibration out;
  out.hook = HeldoutRows::kHook;
  out.d_in = kDim;
  out.mean.assign(kDim, 1.5F);
  out.covariance.assign(kDim * kDim, 0.1);
  for (std::size_t j = 0; j < kDim; ++j) out.covariance[j * kDim + j] += 1 + static_cast<double>(j);
  return out;
}

class StatisticsTogether : public testing::Test {
 protected:
  ChunkReader collective_heldout(const HeldoutRows& rows) {
    return ChunkReader(folder_.collective_file([&](const fs::path& file) { rows.write(file); }));
  }
  static ActivationStatistics collective_measure(const ChunkReader& heldout, std::uint64_t max_rows,
                                                 Communicator& ranks,
                                                 std::size_t scatter_bytes = std::size_t{1} << 30) {
    HookCalibration calibration = drawn_calibration();
    if (ranks.rank() != 0) calibration.covariance.clear();
    SharedStop stop(ranks);
    return collective_activation_statistics(heldout, calibration, kClasses, max_rows, stop, ranks,
                                            scatter_bytes);
  }

  test::SharedFolder folder_{"statistics"};
};

TEST_F(StatisticsTogether, are_the_bytes_of_one_rank_for_any_memory_and_number_of_threads) {
  const int threads = thread_count();
  std::size_t compared = 0;
  for (const std::size_t rows : {40u, 9000u}) {
    const ChunkReader heldout = collective_heldout(drawn_rows(rows));
    for (const std::uint64_t max_rows : {std::uint64_t{0}, std::uint64_t{5000}}) {
      Communicator alone = Communicator::loopback();
      const std::string one = to_json(collective_measure(heldout, max_rows, alone), {});
      for (const std::size_t scatter_bytes : {std::size_t{1}, std::size_t{1} << 30}) {
        set_thread_count(scatter_bytes == 1 ? 3 : 1);

        const ActivationStatistics together =
            collective_measure(heldout, max_rows, world(), scatter_bytes);

        set_thread_count(threads);
        EXPECT_EQ(to_json(together, {}), one) << rows << " rows, at most " << max_rows;
        EXPECT_GT(together.rows, 0u);
        ++compared;
      }
    }
  }
  EXPECT_EQ(compared, 8u);
}

TEST_F(StatisticsTogether, say_on_every_rank_that_no_row_is_included) {
  HeldoutRows rows;
  for (std::uint32_t i = 0; i < 5; ++i)
    rows.add(i, 0, kNoDocumentPosition, 0, kExcludedBos, false, std::vector<float>(kDim, 1));
  const ChunkReader heldout = collective_heldout(rows);

  EXPECT_THROW((void)collective_measure(heldout, 0, world()), NumericalError);
}

}  // namespace
}  // namespace refract
