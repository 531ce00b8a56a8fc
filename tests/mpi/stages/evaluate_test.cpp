// Held-out rows measured by several ranks give the report of one, to the last digit.
#include "refract/stages/evaluate.hpp"

#include <gtest/gtest.h>

#include "refract/base/random.hpp"
#include "refract/sae/initialise.hpp"
#include "refract/stages/evaluation_json.hpp"
#include "refract/stages/measure.hpp"
#include "support/any_variant.hpp"
#include "support/heldout_rows.hpp"
#include "support/shared_folder.hpp"
#include "support/world.hpp"

namespace refract {
namespace {

using test::world;

constexpr std::size_t kDim = 10;
constexpr const char* kHook = test::HeldoutRows::kHook;

// Rows of documents of these lengths. Excluded: the first row of each, and the whole third one.
class EvaluateTogether : public testing::Test {
 protected:
  ChunkReader collective_heldout(const std::vector<std::size_t>& lengths) {
    return ChunkReader(
        folder_.collective_file([&](const fs::path& file) { rows_of(lengths).write(file); }));
  }

  static test::HeldoutRows rows_of(const std::vector<std::size_t>& lengths) {
    const CounterRng rng(Purpose::test, {9});
    test::HeldoutRows rows;
    std::vector<float> row(kDim);
    for (std::uint32_t d = 0; d < lengths.size(); ++d)
      for (std::uint32_t i = 0; i < lengths[d]; ++i) {
        for (std::size_t j = 0; j < kDim; ++j)
          row[j] = static_cast<float>(rng.normal(rows.x.size() + j)) + 0.5F;
        // Documents are not in the order of their numbers.
        rows.add(100000 - d, i, i, 1, i == 0 || d == 2 ? kExcludedBos : 0, false, row);
      }
    return rows;
  }

  test::SharedFolder folder_{"evaluate"};
};

TEST_F(EvaluateTogether, gives_the_report_of_one_rank) {
  std::size_t compared = 0;
  const std::vector<float> reference(kDim, 0.5F);
  for (const std::vector<std::size_t>& lengths :
       {std::vector<std::size_t>{70},
        {40, 3, 5, 60},
        {4, 5000, 7, 90, 2, 4100, 31, 31, 31},
        std::vector<std::size_t>(HeldoutRows::kMostUnits + 500, 2)}) {
    const ChunkReader heldout = collective_heldout(lengths);
    for (const std::string_view variant_name : variant_names()) {
      const SaeConfig config = testing_support::as_variant(
          {.name = "one", .hooks = {kHook}, .d_sae = 70, .k = 3}, variant_name);
      const std::unique_ptr<Variant> variant = make_variant(config, kDim, 100);
      const SaeParameters parameters =
          initial_parameters(config, *variant, kDim, std::vector<float>(kDim, 0.1F));
      const EvaluatedSae sae{&config, variant.get(), &parameters, {scaling(0.5), scaling(0.5)}};
      for (const std::uint64_t max_rows : {std::uint64_t{0}, std::uint64_t{100}}) {
        const auto measure = [&](Communicator& ranks) {
          SaeReconstructor inference(sae), training(sae, SaeReconstructor::Mode::training);
          const Measured measured[] = {{"inference", &inference}, {"training", &training}};
          SharedStop stop(ranks);
          std::string text;
          for (const Measurement& one : collective_measure(
                   HeldoutRows(heldout, kHook, max_rows), measured,
                   {.reference = reference, .seed = 1, .replicates = 50, .doing = {}}, &stop,
                   ranks)) {
            text += to_json(one.report) + "\n";
            EXPECT_GT(one.report.rows, 0U);
            // Of each document but the third the first row is excluded, of that one all of them.
            if (max_rows == 0 && lengths.size() > HeldoutRows::kMostUnits) {
              EXPECT_EQ(one.report.documents, lengths.size() - 1);
            }
          }
          return text;
        };
        Communicator alone = Communicator::loopback();

        const std::string together = measure(world());

        EXPECT_EQ(together, measure(alone)) << variant_name << " of " << max_rows;
        ++compared;
      }
    }
  }
  EXPECT_EQ(compared, 8 * variant_names().size());
}

}  // namespace
}  // namespace refract
