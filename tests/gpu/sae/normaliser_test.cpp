#include "refract/sae/normaliser.hpp"

#include <cmath>

#include "support/gpu_entries.hpp"

namespace refract {
namespace {

using NormaliserOnGpu = test::EntriesOnGpu;

constexpr std::size_t kDim = 40, kStored = 70;

// A whitening by I + a a^T, about a mean.
HookCalibration some_calibration() {
  HookCalibration hook;
  hook.hook = "blocks.0.hook_resid_post";
  hook.d_in = kDim;
  hook.mean_norm = 8;
  const Tensor<float> a = test::normal_values({kDim}, 5), mean = test::normal_values({kDim}, 6);
  hook.mean.assign(mean.data(), mean.data() + kDim);
  WhiteningMaps maps{Tensor<float>({kDim, kDim}), Tensor<float>({kDim, kDim})};
  for (std::size_t i = 0; i < kDim; ++i)
    for (std::size_t j = 0; j < kDim; ++j) {
      const float product = a.data()[i] * a.data()[j];
      maps.W.row(i)[j] = maps.inverse.row(i)[j] = (i == j ? 1.0F : 0.0F) + product;
    }
  hook.whitening = std::make_shared<const WhiteningMaps>(std::move(maps));
  return hook;
}

TEST_F(NormaliserOnGpu, gathers_a_batch_as_the_cpu_does) {
  std::size_t compared = 0;
  const Tensor<float> stored = test::normal_values({kStored, kDim}, 1), there = upload(stored);
  const auto rows_of = [](const Tensor<float>& x) {
    return StoredRows{{reinterpret_cast<const std::byte*>(x.data()),
                       Shape{kStored, kDim * sizeof(float)}, x.device()},
                      DType::f32,
                      kDim};
  };
  for (const std::string_view word : normalize_words())
    for (const std::size_t n : {1U, 33U, 600U}) {
      Tensor<std::uint32_t> rows({n});
      for (std::size_t i = 0; i < n; ++i)
        rows.data()[i] = static_cast<std::uint32_t>(i * 7 % kStored);
      const Tensor<std::uint32_t> rows_there = upload(rows);
      const Tensor<float> u({n, kDim}), u_there({n, kDim}, gpu);
      const SharedNormaliser normaliser = make_normaliser(some_calibration(), word);

      normaliser->on(gpu)->gather(rows_of(there), rows_there.cview(), 0, u_there.view(), stream);
      const Tensor<float> found = download(u_there);
      normaliser->on({})->gather(rows_of(stored), rows.cview(), 0, u.view(), host);

      for (std::size_t i = 0; i < u.size(); ++i, ++compared)
        EXPECT_NEAR(found.data()[i], u.data()[i], 1e-4) << word << ' ' << i;
    }
  EXPECT_EQ(compared, 4U * 634 * kDim);
}

}  // namespace
}  // namespace refract
