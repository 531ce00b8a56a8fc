// Drift since kept checkpoints, read by several ranks: one answer, in the order of the folders.
#include "refract/stages/drift.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>

#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/sae/fold.hpp"
#include "refract/sae/initialise.hpp"
#include "refract/sae/saelens.hpp"
#include "support/world.hpp"

namespace refract {
namespace {

using test::world;

constexpr std::size_t kDim = 16, kFeatures = 70;
constexpr float kInputScale = 0.37F;

class DriftTogether : public testing::Test {
 protected:
  DriftTogether() {
    std::string folder = (fs::path(testing::TempDir()) / fmt::format("drift_{}", ::getpid()));
    world().broadcast_string(folder, 0);
    folder_ = folder;
    variant_ = make_variant(config_, kDim, 100);
    now_ = initial_parameters(config_, *variant_, kDim, std::vector<float>(kDim, 1));
    if (world().rank() == 0) write_checkpoints();
    world().barrier();
  }
  ~DriftTogether() override {
    world().barrier();
    if (world().rank() == 0) fs::remove_all(folder_);
  }

  // In checkpoint i the first i rows of W_dec are turned by 60 degrees, in a plane of their own.
  void write_checkpoints() const {
    for (std::size_t i = 0; i < 5; ++i) {
      SaeParameters earlier = copy(now_);
      for (std::size_t f = 0; f < i; ++f) {
        const auto row = earlier.W_dec.row(f);
        std::vector<double> other(kDim);
        // Orthogonal to the row: its entries swapped in pairs, one of each pair negated.
        for (std::size_t d = 0; d < kDim; d += 2) {
          other[d] = -static_cast<double>(row[d + 1]);
          other[d + 1] = static_cast<double>(row[d]);
        }
        for (std::size_t d = 0; d < kDim; ++d)
          row[d] =
              static_cast<float>(0.5 * static_cast<double>(row[d]) + std::sqrt(0.75) * other[d]);
      }
      make_folder(folder(i));
      (void)write_saelens_folder(folder(i), exported(earlier),
                                 i % 2 == 0 ? DType::bf16 : DType::f32, {});
    }
  }
  SaeExport exported(const SaeParameters& parameters) const {
    SaeExport made = variant_->export_for_saelens(parameters);
    fold(made, *scale_, *scale_);
    return made;
  }
  fs::path folder(std::size_t i) const { return folder_ / fmt::format("chunk-{:06}", i); }

  SaeConfig config_{
      .name = "small", .hooks = {"blocks.0.hook_resid_post"}, .d_sae = kFeatures, .k = 3};
  fs::path folder_;
  std::unique_ptr<Variant> variant_;
  SaeParameters now_;
  SharedNormaliser scale_ = scaling(kInputScale);
};

TEST_F(DriftTogether, says_how_many_rows_turned_since_each_checkpoint) {
  const std::vector<fs::path> folders{folder(3), folder(0), folder(1), folder(4), folder(2)};
  SharedStop stop(world());

  const std::vector<CheckpointDrift> found =
      collective_drift("SAE 'small'", exported(now_), folders, stop, world());

  ASSERT_EQ(found.size(), 5U);
  const std::size_t turned[] = {3, 0, 1, 4, 2};
  for (std::size_t i = 0; i < 5; ++i) {
    const double share = static_cast<double>(turned[i]) / kFeatures;
    EXPECT_EQ(found[i].decoder.rows, kFeatures);
    EXPECT_EQ(found[i].decoder.share_drifted, share);
    EXPECT_NEAR(found[i].decoder.mean, 1 - share / 2, 1e-5);
    EXPECT_NEAR(found[i].encoder.mean, 1, 1e-5);
    EXPECT_NEAR(found[i].b_dec_cosine, 1, 1e-5);
  }
  Communicator alone = Communicator::loopback();
  SharedStop stop_alone(alone);
  EXPECT_EQ(found, collective_drift("SAE 'small'", exported(now_), folders, stop_alone, alone));
}

TEST_F(DriftTogether, refuses_an_sae_of_another_shape) {
  SaeConfig config = config_;
  config.d_sae = 71;
  const SaeParameters other =
      initial_parameters(config, *variant_, kDim, std::vector<float>(kDim, 1));
  Communicator alone = Communicator::loopback();
  SharedStop stop(alone);
  const std::vector<fs::path> folders{folder(0)};
  try {
    (void)collective_drift("SAE 'small'", exported(other), folders, stop, alone);
    FAIL() << "accepted";
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find("70 features"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace refract
