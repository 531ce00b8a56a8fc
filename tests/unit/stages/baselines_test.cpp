#include "refract/stages/baselines.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "refract/analysis/pca.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/parallel.hpp"
#include "refract/sae/initialise.hpp"
#include "stages/baseline_dictionary.hpp"
#include "support/activation_chunk.hpp"
#include "support/mixed_rows.hpp"

namespace refract {
namespace {

constexpr std::size_t kDim = 8, kRows = 600;
constexpr const char* kHook = "blocks.0.hook_resid_post";

std::vector<std::string> all_names() {
  std::vector<std::string> names;
  for (const BaselineRow& row : baseline_table()) names.emplace_back(row.name);
  return names;
}

struct Result {
  SparseActs acts;
  Tensor<float> x_hat;
};
Result reconstruct(Reconstructor& of, TensorView<const float> x) {
  Result out{{}, Tensor<float>(x.shape())};
  of.reconstruct(x, std::vector<std::uint8_t>(x.axis(0), 1), out.acts, out.x_hat.view());
  return out;
}

double error_of(TensorView<const float> x, const Tensor<float>& x_hat) {
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i)
    sum += std::pow(double(x.data()[i]) - double(x_hat.data()[i]), 2);
  return sum;
}

class BaselinesOfAHook : public ::testing::Test {
 protected:
  BaselinesOfAHook()
      : folder_(fs::path(::testing::TempDir()) / fmt::format("baselines_{}", ::getpid())),
        rows_(test::mixed_rows(kHook, kRows, kDim)) {
    fs::remove_all(folder_);
    make_folder(folder_);
    config_ = {.name = "small", .hooks = {kHook}, .d_sae = 16, .k = 3};
    variant_ = make_variant(config_, kDim, 100);
    parameters_ = initial_parameters(config_, *variant_, kDim, std::vector<float>(kDim, 1));
    training_ = write(rows_.x, rows_.excluded);
  }
  ~BaselinesOfAHook() override { fs::remove_all(folder_); }

  std::optional<ChunkReader> write(const Tensor<float>& x,
                                   const std::vector<std::uint8_t>& excluded) {
    const fs::path path = folder_ / fmt::format("rows-{}.h5", files_++);
    test::write_activation_chunk(path, kHook, x, excluded, 128);
    return ChunkReader(path);
  }

  [[nodiscard]] Baselines fit(const std::vector<std::string>& names, const ChunkReader* training,
                              std::uint64_t max_rows = 32768) const {
    Communicator one = Communicator::loopback();
    SharedStop stop(one);
    return Baselines::collective_fit(
        names,
        {.training = training, .calibration = &rows_.calibration, .max_rows = max_rows, .seed = 1},
        stop, one);
  }
  [[nodiscard]] EvaluatedSae sae() const {
    return {&config_, variant_.get(), &parameters_, {scaling(0.5), scaling(0.5)}};
  }
  // Rows that take part, from the first one on.
  [[nodiscard]] TensorView<const float> some() const { return rows_.x.cview().rows(4, 9); }

  [[nodiscard]] std::string refused(const std::vector<std::string>& names,
                                    const ChunkReader* training,
                                    std::uint64_t max_rows = 32768) const {
    try {
      (void)fit(names, training, max_rows);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "nothing was refused";
  }

  fs::path folder_;
  int files_ = 0;
  test::MixedRows rows_;
  SaeConfig config_;
  std::unique_ptr<Variant> variant_;
  SaeParameters parameters_;
  std::optional<ChunkReader> training_;
};

TEST_F(BaselinesOfAHook, use_at_most_k_components_of_a_row_and_list_them_in_order) {
  const Baselines baselines = fit(all_names(), &*training_);

  for (const std::string& name : all_names()) {
    const Baseline baseline = baselines.at(name, sae(), 3.4);
    const Result got = reconstruct(*baseline.reconstructor, some());

    EXPECT_EQ(baseline.facts.kept, 3U) << name;
    EXPECT_EQ(baseline.facts.components, name == "random" ? 16U
                                         : name == "pca"  ? 3U
                                                          : kDim)
        << name;
    EXPECT_EQ(baseline.facts.components, baseline.reconstructor->components()) << name;
    ASSERT_EQ(got.acts.row_starts.size(), some().axis(0) + 1) << name;
    for (std::size_t i = 0; i < some().axis(0); ++i) {
      const std::size_t first = got.acts.row_starts[i], last = got.acts.row_starts[i + 1];
      EXPECT_LE(last - first, 3U) << name;
      for (std::size_t e = first; e < last; ++e) {
        EXPECT_NE(got.acts.values[e], 0) << name;
        EXPECT_LT(got.acts.features[e], baseline.facts.components) << name;
        if (e > first) {
          EXPECT_GT(got.acts.features[e], got.acts.features[e - 1]) << name;
        }
      }
    }
  }
}

TEST_F(BaselinesOfAHook, reconstruct_a_row_by_itself_as_among_others) {
  const Baselines baselines = fit(all_names(), &*training_);

  for (const std::string& name : all_names()) {
    const Baseline baseline = baselines.at(name, sae(), 3);
    const Result together = reconstruct(*baseline.reconstructor, some());
    for (std::size_t i = 0; i < some().axis(0); ++i)
      EXPECT_TRUE(
          std::ranges::equal(reconstruct(*baseline.reconstructor, some().rows(i, 1)).x_hat.span(),
                             together.x_hat.row(i)))
          << name << ' ' << i;
  }
}

TEST_F(BaselinesOfAHook, explain_more_with_more_components_and_all_with_all) {
  const Baselines baselines = fit(all_names(), &*training_);
  Tensor<float> mean(some().shape());
  for (std::size_t i = 0; i < mean.axis(0); ++i)
    std::ranges::copy(rows_.calibration.mean, mean.row(i).begin());
  const double whole = error_of(some(), mean);

  for (const std::string& name : all_names()) {
    if (name == "random") continue;
    double before = whole;
    for (const double l0 : {1.0, 2.0, 4.0, 8.0}) {
      const double error =
          error_of(some(), reconstruct(*baselines.at(name, sae(), l0).reconstructor, some()).x_hat);
      EXPECT_LT(error, before) << name << " at " << l0;
      before = error;
    }
    // Parts with codes that are never negative span a cone, and are fitted to all rows at once.
    const bool cone = name == "semi_nmf" || name == "split_nmf";
    EXPECT_LT(before, (cone ? 0.3 : 1e-6) * whole) << name;
  }
}

TEST_F(BaselinesOfAHook, of_principal_components_are_their_projections) {
  const Baselines baselines = fit({"pca", "pca_topk"}, nullptr);
  const PrincipalComponents all = principal_components(rows_.calibration.covariance, kDim, kDim);
  const Result first = reconstruct(*baselines.at("pca", sae(), 2).reconstructor, some());
  const Result strongest = reconstruct(*baselines.at("pca_topk", sae(), 2).reconstructor, some());

  for (std::size_t i = 0; i < some().axis(0); ++i) {
    std::vector<double> scores(kDim);
    for (std::size_t c = 0; c < kDim; ++c)
      for (std::size_t d = 0; d < kDim; ++d)
        scores[c] += (double(some().row(i)[d]) - double(rows_.calibration.mean[d])) *
                     double(all.directions.row(c)[d]);
    std::vector<std::size_t> order(kDim);
    std::iota(order.begin(), order.end(), 0U);
    std::ranges::sort(order, [&](std::size_t a, std::size_t b) {
      return std::abs(scores[a]) > std::abs(scores[b]);
    });
    for (std::size_t d = 0; d < kDim; ++d) {
      const auto sum = [&](std::size_t a, std::size_t b) {
        return double(rows_.calibration.mean[d]) + scores[a] * double(all.directions.row(a)[d]) +
               scores[b] * double(all.directions.row(b)[d]);
      };
      EXPECT_NEAR(first.x_hat.row(i)[d], sum(0, 1), 1e-4);
      EXPECT_NEAR(strongest.x_hat.row(i)[d], sum(order[0], order[1]), 1e-4);
    }
  }
}

TEST_F(BaselinesOfAHook, of_neurons_give_the_largest_back_and_the_mean_for_the_others) {
  const Baseline neurons = fit({"neurons"}, nullptr).at("neurons", sae(), 3);

  const Result got = reconstruct(*neurons.reconstructor, some());

  for (std::size_t i = 0; i < some().axis(0); ++i) {
    std::vector<float> away(kDim);
    for (std::size_t d = 0; d < kDim; ++d)
      away[d] = std::abs(some().row(i)[d] - rows_.calibration.mean[d]);
    std::vector<float> sorted(away);
    std::ranges::sort(sorted, std::greater<>());
    for (std::size_t d = 0; d < kDim; ++d)
      EXPECT_NEAR(got.x_hat.row(i)[d],
                  away[d] >= sorted[2] ? some().row(i)[d] : rows_.calibration.mean[d], 1e-6);
  }
}

TEST_F(BaselinesOfAHook, look_at_included_training_rows_alone) {
  Tensor<float> other(rows_.x.shape());
  for (std::size_t i = 0; i < kRows; ++i)
    for (std::size_t d = 0; d < kDim; ++d)
      other.row(i)[d] = rows_.excluded[i] != 0 ? -7 : rows_.x.row(i)[d];
  const std::optional<ChunkReader> changed = write(other, rows_.excluded);
  const std::vector<std::string> names{"ica", "semi_nmf", "split_nmf"};
  const Baselines one = fit(names, &*training_), two = fit(names, &*changed);

  for (const std::string& name : names) {
    const Baseline a = one.at(name, sae(), 2), b = two.at(name, sae(), 2);
    EXPECT_EQ(a.facts.fitting_rows, kRows - kRows / 10) << name;
    EXPECT_TRUE(std::ranges::equal(reconstruct(*a.reconstructor, some()).x_hat.span(),
                                   reconstruct(*b.reconstructor, some()).x_hat.span()))
        << name;
  }
}

TEST_F(BaselinesOfAHook, are_fitted_on_at_most_as_many_rows_as_asked_for_and_say_how_it_went) {
  const Baselines baselines = fit({"ica", "semi_nmf"}, &*training_, 200);

  for (const char* name : {"ica", "semi_nmf"}) {
    const BaselineFacts facts = baselines.at(name, sae(), 2).facts;
    EXPECT_EQ(facts.fitting_rows, 200U);
    EXPECT_GT(facts.iterations, 1U);
    EXPECT_TRUE(facts.converged) << name << ' ' << facts.iterations;
  }
}

TEST_F(BaselinesOfAHook, are_the_same_bytes_for_any_number_of_threads) {
  const std::vector<std::string> names{"ica", "semi_nmf", "split_nmf"};
  const int threads = thread_count();
  const auto all = [&](int with) {
    set_thread_count(with);
    const Baselines baselines = fit(names, &*training_);
    std::vector<std::vector<float>> out;
    for (const std::string& name : names) {
      const Result got = reconstruct(*baselines.at(name, sae(), 3).reconstructor, some());
      out.emplace_back(got.x_hat.span().begin(), got.x_hat.span().end());
    }
    set_thread_count(threads);
    return out;
  };

  EXPECT_EQ(all(1), all(3));
}

TEST_F(BaselinesOfAHook, do_not_depend_on_a_k_that_is_not_what_was_measured) {
  const Baselines baselines = fit({"random", "pca_topk"}, nullptr);
  SaeConfig other = config_;
  other.k = 7;

  for (const char* name : {"random", "pca_topk"}) {
    const Baseline a = baselines.at(name, sae(), 2.6);
    const Baseline b = baselines.at(
        name, {&other, variant_.get(), &parameters_, {scaling(0.5), scaling(0.5)}}, 2.6);
    EXPECT_EQ(a.facts.kept, 3U);
    EXPECT_TRUE(std::ranges::equal(reconstruct(*a.reconstructor, some()).x_hat.span(),
                                   reconstruct(*b.reconstructor, some()).x_hat.span()));
  }
  EXPECT_EQ(active_components(0.2), 1U);
}

TEST_F(BaselinesOfAHook, say_what_is_missing) {
  EXPECT_EQ(refused({"pca", "svd"}, nullptr),
            "evaluate.baselines has \"svd\"; known baselines: pca, pca_topk, ica, semi_nmf, "
            "split_nmf, neurons, random.");
  EXPECT_NE(refused({"ica"}, nullptr).find("evaluate.baselines has ica"), std::string::npos);
  EXPECT_NE(refused({"ica"}, &*training_, 7).find("has dimensions, 8: there are 7 (540 of 600"),
            std::string::npos)
      << refused({"ica"}, &*training_, 7);
}

// As that is at its start, but for its directions: b_dec is not subtracted from what it reads.
TEST(RandomControlOf, a_transcoder_reads_what_that_reads) {
  const SaeConfig mlp{.name = "mlp",
                      .hooks = {"blocks.0.ln2.hook_normalized"},
                      .target_hook = "blocks.0.hook_mlp_out",
                      .variant = "relu",
                      .d_sae = 20};
  const RandomControl control = random_control(mlp, 4, 3, std::vector<float>(5, 100));
  Tensor<float> x(Shape{1, 3});
  std::ranges::copy(control.parameters.W_enc.row(7), x.data());
  SparseActs acts;

  control.variant->encode(control.parameters, x.cview(), 0, acts);

  EXPECT_EQ(control.parameters.W_dec.shape(), (Shape{20, 5}));
  ASSERT_EQ(acts.features.size(), 4U);
  const auto own = std::ranges::find(acts.features, 7U);
  ASSERT_NE(own, acts.features.end());
  EXPECT_NEAR(acts.values[static_cast<std::size_t>(own - acts.features.begin())], 1, 1e-5);
}

TEST(BaselineDictionaryOf, directions_that_overlap_fits_the_chosen_again) {
  // Of x = (2, 1) the codes are given as 3, 1 and 0.5: the first two are chosen, and solve it.
  auto dictionary = std::make_shared<BaselineDictionary>();
  dictionary->mean = {0, 0};
  dictionary->directions = Tensor<float>(Shape{3, 2});
  std::ranges::copy(std::vector<float>{1, 0, 1, 1, 0, 1}, dictionary->directions.data());
  dictionary->orthonormal = false;
  dictionary->encode = [](TensorView<const float>, TensorView<float> codes) {
    std::ranges::copy(std::vector<float>{3, 1, 0.5F}, codes.data());
  };
  Tensor<float> x(Shape{1, 2});
  std::ranges::copy(std::vector<float>{2, 1}, x.data());

  const Result got = reconstruct(*reconstructor_of(dictionary, 2), x.cview());

  EXPECT_EQ(got.acts.features, (std::vector<std::uint32_t>{0, 1}));
  EXPECT_NEAR(got.acts.values[0], 1, 0.01);
  EXPECT_NEAR(got.acts.values[1], 1, 0.01);
  EXPECT_LT(error_of(x.cview(), got.x_hat), 1e-4);
}

}  // namespace
}  // namespace refract
