// The forward pass against the fp64 oracle (tests/support/naive_gpt2.hpp). The gate is that of
// DESIGN section 6: worst token, relative L2, 3e-6 sqrt(L / 2), at most 1e-5.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "refract/base/error.hpp"
#include "refract/base/parallel.hpp"
#include "refract/base/random.hpp"
#include "refract/lm/language_model.hpp"
#include "support/naive_gpt2.hpp"
#include "support/tiny_gpt2.hpp"

namespace refract {
namespace {

using test::Mutation;
using test::NaiveGpt2;
using test::TinyGpt2;

const std::filesystem::path kDemoModel =
    std::filesystem::path(REFRACT_SOURCE_DIR) / "configs/demo/model";

double gate(std::size_t layers) {
  return std::min(1e-5, 3e-6 * std::sqrt(static_cast<double>(layers) / 2));
}

// Documents one behind the other, each with positions from 0.
struct Pack {
  explicit Pack(std::vector<std::vector<std::uint32_t>> documents_)
      : documents(std::move(documents_)) {
    for (const auto& document : documents) {
      for (std::size_t i = 0; i < document.size(); ++i) {
        ids.push_back(document[i]);
        positions.push_back(static_cast<std::uint32_t>(i));
      }
      starts.push_back(static_cast<std::uint32_t>(ids.size()));
    }
  }
  PackedTokens tokens() const { return {ids, positions, starts}; }
  std::vector<std::vector<std::uint32_t>> documents;
  std::vector<std::uint32_t> ids, positions, starts{0};
};

std::vector<std::uint32_t> random_document(std::size_t length, std::size_t vocab,
                                           std::uint64_t seed) {
  const CounterRng rng(Purpose::test, {seed});
  std::vector<std::uint32_t> ids(length);
  for (std::size_t i = 0; i < length; ++i) ids[i] = static_cast<std::uint32_t>(rng.below(i, vocab));
  return ids;
}

Pack random_pack(std::size_t vocab, std::vector<std::size_t> lengths) {
  std::vector<std::vector<std::uint32_t>> documents;
  for (std::size_t i = 0; i < lengths.size(); ++i)
    documents.push_back(random_document(lengths[i], vocab, 100 + i));
  return Pack(std::move(documents));
}

class Recorder final : public Tap {
 public:
  void at(HookPoint hook, TensorView<float> values, Stream&) override {
    order.push_back(name(hook));
    seen[name(hook)].assign(values.span().begin(), values.span().end());
  }
  std::vector<std::string> order;
  std::map<std::string, std::vector<float>> seen;  // [N, D]
};

double relative_l2(const float* a, const std::vector<double>& b) {
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    difference += std::pow(static_cast<double>(a[i]) - b[i], 2);
    norm += b[i] * b[i];
  }
  return std::sqrt(difference / norm);
}

struct Worst {
  double error = 0;
  std::size_t compared = 0;
};

// The worst token over all layers of one site.
Worst worst_token(const Recorder& recorder, const Pack& pack, const NaiveGpt2& oracle, Site site) {
  Worst worst;
  std::size_t row = 0;
  for (const auto& document : pack.documents) {
    const auto trace = oracle.run(document);
    const auto& expected = site == Site::resid_post  ? trace.resid_post
                           : site == Site::resid_mid ? trace.resid_mid
                           : site == Site::attn_out  ? trace.attn_out
                           : site == Site::mlp_out   ? trace.mlp_out
                                                     : trace.mlp_in;
    for (std::size_t layer = 0; layer < oracle.layers(); ++layer) {
      const auto& values = recorder.seen.at(name({static_cast<int>(layer), site}));
      for (std::size_t t = 0; t < document.size(); ++t) {
        const double error =
            relative_l2(values.data() + (row + t) * oracle.d_model(), expected[layer][t]);
        worst.error = std::max(worst.error, error);
        ++worst.compared;
      }
    }
    row += document.size();
  }
  return worst;
}

class Gpt2Forward : public testing::Test {
 protected:
  std::filesystem::path write(const TinyGpt2& model) const {
    model.write(folder_);
    return folder_;
  }
  std::filesystem::path folder_ = std::filesystem::path(testing::TempDir()) /
                                  (std::string("refract_gpt2_") +
                                   testing::UnitTest::GetInstance()->current_test_info()->name());
  Stream stream_;
};

TEST_F(Gpt2Forward, of_a_tiny_model_equals_the_fp64_oracle_at_every_hook) {
  const auto folder = write({});
  const auto model = load_language_model(folder);
  const NaiveGpt2 oracle(folder);
  const auto pack = random_pack(50, {1, 17, 90, 3});
  Recorder recorder;

  model->forward(pack.tokens(), 2, recorder, stream_);

  for (const Site site : {Site::resid_post, Site::resid_mid}) {
    const auto worst = worst_token(recorder, pack, oracle, site);
    EXPECT_LE(worst.error, gate(3)) << name({0, site});
    EXPECT_EQ(worst.compared, 3U * 111U);
  }
  for (const Site site : {Site::attn_out, Site::ln2_normalized, Site::mlp_out}) {
    EXPECT_LE(worst_token(recorder, pack, oracle, site).error, 1e-5) << name({0, site});
  }
}

TEST_F(Gpt2Forward, of_the_demo_model_equals_the_fp64_oracle) {
  const auto model = load_language_model(kDemoModel);
  const NaiveGpt2 oracle(kDemoModel);
  const auto pack = random_pack(oracle.vocab(), {1, 66, 5});
  Recorder recorder;
  std::vector<float> nll(pack.ids.size());

  model->next_token_nll(pack.tokens(), recorder, nll, stream_);

  const auto worst = worst_token(recorder, pack, oracle, Site::resid_post);
  RecordProperty("worst_token", std::to_string(worst.error));
  std::printf("demo model, worst token relative L2 over 6 layers: %.3g (gate %.3g)\n", worst.error,
              gate(6));
  EXPECT_LE(worst.error, gate(6));
  EXPECT_EQ(worst.compared, 6U * 72U);
}

TEST_F(Gpt2Forward, fails_the_gate_for_each_classic_error) {
  const auto folder = write({});
  const auto model = load_language_model(folder);
  NaiveGpt2 oracle(folder);
  const auto pack = random_pack(50, {1, 40});
  Recorder recorder;
  model->forward(pack.tokens(), 2, recorder, stream_);

  for (const Mutation mutation :
       {Mutation::eps, Mutation::erf_gelu, Mutation::no_scale, Mutation::one_key_short,
        Mutation::not_transposed, Mutation::skip_position}) {
    oracle.mutation = mutation;
    EXPECT_GT(worst_token(recorder, pack, oracle, Site::resid_post).error, gate(3))
        << static_cast<int>(mutation);
  }
}

TEST_F(Gpt2Forward, honours_the_inverse_layer_scale) {
  TinyGpt2 tiny;
  tiny.config_changes = {{"scale_attn_by_inverse_layer_idx", true}, {"layer_norm_epsilon", 1e-6}};
  const auto folder = write(tiny);
  const auto model = load_language_model(folder);
  const auto pack = random_pack(50, {30});
  Recorder recorder;

  model->forward(pack.tokens(), 2, recorder, stream_);

  EXPECT_LE(worst_token(recorder, pack, NaiveGpt2(folder), Site::resid_post).error, gate(3));
}

TEST_F(Gpt2Forward, gives_a_document_the_same_bytes_packed_and_alone) {
  const auto model = load_language_model(kDemoModel);
  const auto pack = random_pack(8192, {33, 1, 130, 64});
  Recorder packed;
  model->forward(pack.tokens(), 5, packed, stream_);

  std::size_t row = 0;
  for (const auto& document : pack.documents) {
    Recorder alone;
    model->forward(Pack({document}).tokens(), 5, alone, stream_);
    const auto& values = alone.seen.at("blocks.5.hook_resid_post");
    EXPECT_EQ(
        0, std::memcmp(values.data(), packed.seen.at("blocks.5.hook_resid_post").data() + row * 256,
                       values.size() * sizeof(float)));
    row += document.size();
  }
}

TEST_F(Gpt2Forward, gives_the_same_bytes_for_any_number_of_threads) {
  const auto model = load_language_model(write({}));
  const auto pack = random_pack(50, {100, 7});
  const int before = thread_count();
  std::vector<Recorder> recorders(3);
  for (int threads = 1; threads <= 3; ++threads) {
    set_thread_count(threads);
    model->forward(pack.tokens(), 2, recorders[static_cast<std::size_t>(threads - 1)], stream_);
  }
  set_thread_count(before);

  EXPECT_EQ(recorders[0].seen, recorders[1].seen);
  EXPECT_EQ(recorders[0].seen, recorders[2].seen);
}

TEST_F(Gpt2Forward, gives_the_same_bytes_when_called_again_with_fewer_tokens_between) {
  const auto model = load_language_model(write({}));
  const auto pack = random_pack(50, {100, 7});
  Recorder first, between, again;

  model->forward(pack.tokens(), 2, first, stream_);
  model->forward(random_pack(50, {3}).tokens(), 2, between, stream_);
  model->forward(pack.tokens(), 2, again, stream_);

  EXPECT_EQ(first.seen, again.seen);
}

TEST_F(Gpt2Forward, calls_the_tap_in_forward_order_and_stops_after_the_last_layer) {
  const auto model = load_language_model(write({}));
  Recorder recorder;

  model->forward(random_pack(50, {4}).tokens(), 1, recorder, stream_);

  std::vector<std::string> expected;
  for (const char* layer : {"blocks.0.", "blocks.1."}) {
    for (const char* site : {"hook_resid_pre", "hook_attn_out", "hook_resid_mid",
                             "ln2.hook_normalized", "hook_mlp_out", "hook_resid_post"}) {
      expected.push_back(std::string(layer) + site);
    }
  }
  EXPECT_EQ(recorder.order, expected);
  for (std::size_t i = 1; i < expected.size(); ++i)
    EXPECT_TRUE(comes_before(parse_hook_point(expected[i - 1]), parse_hook_point(expected[i])))
        << expected[i];
}

// Replaces what passes one hook by zeros.
class Eraser final : public Tap {
 public:
  explicit Eraser(HookPoint where) : where_(where) {}
  void at(HookPoint hook, TensorView<float> values, Stream& stream) override {
    if (hook == where_) std::ranges::fill(values.span(), 0.0F);
    recorder.at(hook, values, stream);
  }
  Recorder recorder;

 private:
  HookPoint where_;
};

TEST_F(Gpt2Forward, goes_on_with_what_an_editing_tap_leaves_at_every_site) {
  const auto model = load_language_model(write({}));
  const auto pack = random_pack(50, {12});
  Recorder untouched;
  model->forward(pack.tokens(), 2, untouched, stream_);

  for (const Site site : {Site::resid_pre, Site::attn_out, Site::resid_mid, Site::ln2_normalized,
                          Site::mlp_out, Site::resid_post}) {
    Eraser eraser({1, site});
    model->forward(pack.tokens(), 2, eraser, stream_);
    EXPECT_NE(eraser.recorder.seen.at("blocks.2.hook_resid_post"),
              untouched.seen.at("blocks.2.hook_resid_post"))
        << name({1, site});
    EXPECT_EQ(eraser.recorder.seen.at("blocks.0.hook_resid_post"),
              untouched.seen.at("blocks.0.hook_resid_post"));
    if (site == Site::attn_out) {
      EXPECT_EQ(eraser.recorder.seen.at("blocks.1.hook_resid_mid"),
                untouched.seen.at("blocks.1.hook_resid_pre"));
    }
    if (site == Site::ln2_normalized) {
      EXPECT_EQ(eraser.recorder.seen.at("blocks.1.hook_resid_mid"),
                untouched.seen.at("blocks.1.hook_resid_mid"));
      EXPECT_NE(eraser.recorder.seen.at("blocks.1.hook_mlp_out"),
                untouched.seen.at("blocks.1.hook_mlp_out"));
    }
  }
}

TEST_F(Gpt2Forward, of_no_tokens_calls_every_tap_with_no_rows) {
  const auto model = load_language_model(write({}));
  const std::vector<std::uint32_t> none, starts{0};
  Recorder recorder;
  std::vector<float> nll;

  model->next_token_nll({none, none, starts}, recorder, nll, stream_);

  EXPECT_EQ(recorder.order.size(), 18U);
}

TEST_F(Gpt2Forward, next_token_nll_equals_the_oracle_and_counts_no_segments_last_token) {
  const auto folder = write({});
  const auto model = load_language_model(folder);
  const NaiveGpt2 oracle(folder);
  const auto pack = random_pack(50, {1, 20, 9});
  std::vector<float> nll(pack.ids.size());
  Recorder recorder;

  model->next_token_nll(pack.tokens(), recorder, nll, stream_);

  const std::vector<std::uint8_t> counted = has_successor(pack.tokens());
  std::size_t row = 0, compared = 0;
  for (const auto& document : pack.documents) {
    const auto trace = oracle.run(document);
    for (std::size_t t = 0; t + 1 < document.size(); ++t, ++compared) {
      EXPECT_EQ(counted[row + t], 1);
      EXPECT_NEAR(static_cast<double>(nll[row + t]), trace.nll[t], 2e-5);
    }
    EXPECT_EQ(nll[row + document.size() - 1], 0.0F);
    EXPECT_EQ(counted[row + document.size() - 1], 0);
    row += document.size();
  }
  EXPECT_EQ(compared, 27U);
}

TEST_F(Gpt2Forward,
       next_token_nll_of_more_tokens_than_are_unembedded_at_once_is_that_of_each_alone) {
  const auto model = load_language_model(write({}));
  const auto pack = random_pack(50, {150, 7, 150});
  ASSERT_GT(pack.ids.size(), unembedded_at_once(model->info()));
  std::vector<float> together(pack.ids.size());
  Recorder recorder;

  model->next_token_nll(pack.tokens(), recorder, together, stream_);

  std::size_t row = 0;
  for (const auto& document : pack.documents) {
    std::vector<float> alone(document.size());
    model->next_token_nll(Pack({document}).tokens(), recorder, alone, stream_);
    for (std::size_t t = 0; t < document.size(); ++t, ++row) EXPECT_EQ(together[row], alone[t]);
  }
}

TEST_F(Gpt2Forward, refuses_ids_positions_and_layers_the_model_does_not_have) {
  const auto model = load_language_model(write({}));
  Recorder recorder;
  const std::vector<std::uint32_t> id{50}, good_id{1}, zero{0}, position{160}, starts{0, 1};

  EXPECT_THROW(model->forward({id, zero, starts}, 2, recorder, stream_), DataError);
  EXPECT_THROW(model->forward({good_id, position, starts}, 2, recorder, stream_), ConfigError);
  EXPECT_THROW(model->forward({good_id, zero, starts}, 3, recorder, stream_), ConfigError);
  EXPECT_THROW(model->require({3, Site::resid_post}), ConfigError);
  EXPECT_THROW(model->require({-1, Site::resid_post}), ConfigError);
  EXPECT_NO_THROW(model->require({2, Site::mlp_out}));
  EXPECT_TRUE(recorder.order.empty());
}

}  // namespace
}  // namespace refract
