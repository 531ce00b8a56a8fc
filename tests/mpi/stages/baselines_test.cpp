// Baselines fitted by several ranks are those of one, to the last bit.
#include "refract/stages/baselines.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include "refract/base/file.hpp"
#include "refract/sae/initialise.hpp"
#include "support/activation_chunk.hpp"
#include "support/mixed_rows.hpp"
#include "support/world.hpp"

namespace refract {
namespace {

using test::world;

constexpr std::size_t kDim = 10, kRows = 9000;  // more than two blocks of what is summed in fp32
constexpr const char* kHook = "blocks.0.hook_resid_post";

TEST(BaselinesTogether, are_the_same_bytes_for_any_number_of_ranks) {
  std::string folder =
      (fs::path(testing::TempDir()) / fmt::format("baselines_{}", ::getpid())).string();
  world().broadcast_string(folder, 0);
  const test::MixedRows rows = test::mixed_rows(kHook, kRows, kDim);
  if (world().rank() == 0) {
    make_folder(folder);
    test::write_activation_chunk(fs::path(folder) / "rows.h5", kHook, rows.x, rows.excluded, 512);
  }
  world().barrier();
  const ChunkReader training(fs::path(folder) / "rows.h5");
  std::vector<std::string> names;
  for (const BaselineRow& row : baseline_table()) names.emplace_back(row.name);
  const BaselineSources sources{.training = &training, .calibration = &rows.calibration};
  Communicator one = Communicator::loopback();
  SharedStop stop(world()), alone(one);
  const SaeConfig config{.name = "small", .hooks = {kHook}, .d_sae = 16, .k = 3};
  const std::unique_ptr<Variant> variant = make_variant(config, kDim, 100);
  const SaeParameters parameters =
      initial_parameters(config, *variant, kDim, std::vector<float>(kDim, 1));
  const EvaluatedSae sae{&config, variant.get(), &parameters, {scaling(0.5), scaling(0.5)}};

  const Baselines by_all = Baselines::collective_fit(names, sources, stop, world());
  const Baselines by_one = Baselines::collective_fit(names, sources, alone, one);

  const TensorView<const float> x = rows.x.cview().rows(0, 50);
  const std::vector<std::uint8_t> included(50, 1);
  std::size_t compared = 0;
  for (const std::string& name : names) {
    const Baseline a = by_all.at(name, sae, 3), b = by_one.at(name, sae, 3);
    Tensor<float> x_a(x.shape()), x_b(x.shape());
    SparseActs acts_a, acts_b;
    a.reconstructor->reconstruct(x, included, acts_a, x_a.view());
    b.reconstructor->reconstruct(x, included, acts_b, x_b.view());
    EXPECT_TRUE(std::ranges::equal(x_a.span(), x_b.span())) << name;
    EXPECT_EQ(acts_a.values, acts_b.values) << name;
    EXPECT_EQ(a.facts.iterations, b.facts.iterations) << name;
    compared += x_a.size();
  }
  EXPECT_GT(compared, 0U);
  world().barrier();
  if (world().rank() == 0) fs::remove_all(folder);
}

}  // namespace
}  // namespace refract
