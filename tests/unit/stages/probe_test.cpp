#include "refract/stages/probe.hpp"

#include <gtest/gtest.h>

#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/random.hpp"
#include "refract/base/stop.hpp"
#include "refract/comm/communicator.hpp"
#include "refract/store/token_shard.hpp"

namespace refract {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t kTokens = 150;     // per document, after one BOS slot
constexpr std::uint64_t kDocuments = 120;  // document d is context d; the last 40 are held out
constexpr std::uint64_t kTraining = 80;
constexpr std::size_t kD = 4;  // neurons: topic, random, one token, silent
constexpr std::uint32_t kTopicAt = 70;
constexpr const char* kHook = "blocks.0.hook_resid_post";

std::string name(std::uint64_t n) {
  std::string word = "w";
  for (; n; n /= 26) word.push_back(static_cast<char>('a' + n % 26));
  return word;
}

bool in_topic(std::uint64_t document, std::uint32_t t) {
  return document % 3 == 0 && t + 3 > kTopicAt && t < kTopicAt + 3;
}

// A corpus of random words with a topic passage in every third document. Token ids are the draw of
// the word, the id 7 stands at token 40 of every document; the text of a token is " word".
class Planted {
 public:
  explicit Planted(const std::string& test)
      : folder_(fs::path(testing::TempDir()) / ("probe_" + test)) {
    remove_all_quietly(folder_);
    make_folder(folder_);
    write_shard();
    write_rows("chunk.h5", 0, kTraining);
    write_rows("heldout.h5", kTraining, kDocuments);
  }
  [[nodiscard]] ProbeSources sources() const {
    return {.shards = {folder_ / "shard.h5"},
            .chunks = {folder_ / "chunk.h5"},
            .heldout = folder_ / "heldout.h5"};
  }
  [[nodiscard]] fs::path path(const char* file) const { return folder_ / file; }

 private:
  std::uint32_t word_id(std::uint64_t d, std::uint32_t t) const {
    if (t == 40) return 7;
    return static_cast<std::uint32_t>(rng_.below(d * kTokens + t, 700)) +
           (in_topic(d, t) ? 1000u : 10u);
  }

  void write_shard() const {
    const std::vector<std::string> topic{"acid", "molecule", "reaction", "carbon", "oxide"};
    TokenShardData data;
    data.vocabulary = 2000;
    for (std::uint64_t d = 0; d < kDocuments; ++d) {
      std::string text;
      for (std::uint32_t t = 0; t < kTokens; ++t) {
        const std::uint32_t id = word_id(d, t);
        data.ids.push_back(id);
        data.token_begin.push_back(static_cast<std::uint32_t>(text.size()));
        text += " " + (id >= 1000 ? topic[id % topic.size()] : name(id));
        data.token_end.push_back(static_cast<std::uint32_t>(text.size()));
      }
      data.document_token_starts.push_back(data.ids.size());
      data.document_key.push_back(d);
      data.page_id.push_back(d);
      data.revision.push_back(0);
      data.title.push_back("Title " + std::to_string(d));
      data.url.push_back("https://en.wikipedia.org/wiki/" + std::to_string(d));
      data.links.emplace_back();
      data.text.push_back(text);
    }
    write_token_shard(folder_ / "shard.h5", data, {});
  }

  void write_rows(const char* file, std::uint64_t first, std::uint64_t last) const {
    RowIdentity id;
    std::vector<float> x;
    std::vector<std::uint8_t> sink;
    for (std::uint64_t d = first; d < last; ++d)
      for (std::uint32_t slot = 0; slot <= kTokens; ++slot) {
        const bool bos = slot == 0;
        const std::uint32_t t = slot - 1;
        id.context.push_back(d);
        id.position.push_back(slot);
        id.token.push_back(bos ? 0 : word_id(d, t));
        id.document.push_back(d);
        id.document_position.push_back(bos ? kNoDocumentPosition : t);
        id.excluded.push_back(bos ? kExcludedBos : 0);
        const bool is_sink = !bos && t == 100;
        sink.push_back(is_sink ? kExcludedSink : 0);
        const auto draw = static_cast<float>(rng_.uniform(1'000'000 + d * 200 + slot));
        x.push_back(bos || is_sink ? 50.0F : in_topic(d, t) ? 1 + draw : 0.0F);
        x.push_back(draw > 0.97F ? draw : 0.0F);
        x.push_back(!bos && t == 40 ? 1.0F : 0.0F);
        x.push_back(-1.0F);
      }
    Communicator communicator = Communicator::loopback();
    ChunkSpec spec{.rows = id.size(),
                   .block_rows = 1510,
                   .dtype = DType::f32,
                   .hooks = {{kHook, kD}},
                   .parents = {}};
    auto writer = ChunkWriter::collective_open(folder_ / file, spec, communicator);
    for (std::uint64_t b = 0; b < spec.blocks(); ++b) {
      const std::size_t at = b * spec.block_rows, n = spec.rows_of_block(b);
      const HookRows rows{std::span(x).subspan(at * kD, n * kD), std::span(sink).subspan(at, n)};
      writer.write_block(b, id.rows(at, n), std::span(&rows, 1));
    }
    writer.collective_seal();
  }

  fs::path folder_;
  CounterRng rng_{Purpose::test, {11}};
};

ProbeTarget neurons() {
  return {.name = "neurons",
          .task = "probe neurons",
          .hook = kHook,
          .input = {{.hook = kHook, .width = kD, .normaliser = scaling(2)}},
          .features = kD,
          .encode = neuron_encoder(std::vector<float>(kD, 0.0F), kD),
          .parameters = nullptr};
}

TEST(Probe, finds_the_planted_feature_readable_and_the_others_not) {
  const Planted planted("measure");
  const ProbeCorpus corpus(planted.sources(), {});

  const FeatureAtlas atlas = probe(corpus, neurons());

  ASSERT_EQ(atlas.features.size(), kD);
  EXPECT_TRUE(atlas.features[0].readable) << atlas.features[0].auroc;
  EXPECT_TRUE(atlas.features[1].scored);
  EXPECT_FALSE(atlas.features[1].readable);
  EXPECT_TRUE(atlas.features[2].single_token);
  EXPECT_FALSE(atlas.features[2].readable);
  EXPECT_FALSE(atlas.features[3].alive());
  EXPECT_EQ(atlas.count.readable, 1u);
  EXPECT_EQ(atlas.count.alive, 3u);
  EXPECT_EQ(atlas.count.single_token, 1u);
  EXPECT_EQ(count_readable(corpus, neurons()).readable, 1u);
}

TEST(Probe, leaves_excluded_rows_out_and_scales_its_input) {
  const Planted planted("excluded");
  const ProbeCorpus corpus(planted.sources(), {});

  const FeatureAtlas atlas = probe(corpus, neurons());

  EXPECT_EQ(atlas.training_rows, kTraining * (kTokens - 1));  // no BOS, no sink
  EXPECT_EQ(atlas.heldout_rows, (kDocuments - kTraining) * (kTokens - 1));
  EXPECT_GT(atlas.features[0].max_activation, 2.0F);
  EXPECT_LE(atlas.features[0].max_activation, 4.0F);
  EXPECT_FLOAT_EQ(atlas.features[0].density,
                  27 * 5 / static_cast<float>(kTraining * (kTokens - 1)));
}

TEST(Probe, shows_the_text_that_made_a_feature_fire) {
  const Planted planted("text");
  const ProbeCorpus corpus(planted.sources(), {.examples = 7});

  const FeatureAtlas atlas = probe(corpus, neurons());

  ASSERT_EQ(atlas.features[2].examples.size(), 7u);
  for (const FeatureExample& e : atlas.features[2].examples) {
    const std::uint32_t begin = e.token_ends[e.center - 1], end = e.token_ends[e.center];
    EXPECT_EQ(e.row.token, 7u);
    EXPECT_EQ(e.text.substr(begin, end - begin), " " + name(7));
    EXPECT_EQ(e.activations[e.center], 2.0F);
    EXPECT_EQ(e.activations[e.center + 1], 0.0F);
    EXPECT_EQ(e.title, "Title " + std::to_string(e.row.document));
    EXPECT_EQ(e.token_ends.back(), e.text.size());
  }
  EXPECT_EQ(atlas.features[2].frequent_token, " " + name(7));
  std::size_t neighbours_firing = 0;
  for (const float a : atlas.features[0].examples[0].activations) neighbours_firing += a > 0;
  EXPECT_EQ(neighbours_firing, 5u);
}

TEST(Probe, reads_at_most_the_rows_it_was_told_to) {
  const Planted planted("tokens");

  const ProbeCorpus corpus(planted.sources(), {.tokens = 1510 + 30});

  EXPECT_EQ(corpus.training().size(), 1510u);
  EXPECT_EQ(corpus.training_documents(), 10u);
}

std::string message_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(Probe, reads_at_least_one_block) {
  const Planted planted("too_few");

  const ProbeCorpus corpus(planted.sources(), {.tokens = 1});

  EXPECT_EQ(corpus.training().size(), 1510u);
}

TEST(Probe, refuses_rows_of_another_corpus_or_store) {
  const Planted planted("parents");
  ProbeSources no_shards = planted.sources(), other_store = planted.sources();
  no_shards.shards.clear();
  other_store.parents = {{"store", "another"}};

  EXPECT_NE(message_of([&] { ProbeCorpus(no_shards, {}); }).find("another corpus"),
            std::string::npos);
  EXPECT_NE(message_of([&] { ProbeCorpus(other_store, {}); }).find("parent store"),
            std::string::npos);
}

std::size_t open_chunks() {
  std::set<std::string> files;
  for (const auto& entry : fs::directory_iterator("/proc/self/fd")) {
    std::error_code gone;  // the iterator's own
    const fs::path file = fs::read_symlink(entry.path(), gone);
    if (file.extension() == ".h5") files.insert(file.string());
  }
  return files.size();
}

TEST(Probe, holds_one_chunk_open_however_many_there_are) {
  const Planted planted("descriptors");
  ProbeSources sources = planted.sources();
  for (int i = 0; i < 30; ++i) {
    fs::copy_file(planted.path("chunk.h5"), planted.path(("copy" + std::to_string(i)).c_str()));
    sources.chunks.push_back(planted.path(("copy" + std::to_string(i)).c_str()));
  }
  for (auto& chunk : sources.chunks) {
    fs::rename(chunk, chunk.string() + ".h5");
    chunk += ".h5";
  }
  const ProbeCorpus corpus(sources, {.tokens = 10'000'000});
  const std::size_t before = open_chunks();
  std::size_t most = 0, calls = 0;
  ProbeTarget target = neurons();
  const Encoder encode = target.encode;
  target.encode = [&](TensorView<const float> x, std::size_t first_row, SparseActs& acts) {
    most = std::max(most, open_chunks());
    ++calls;
    encode(x, first_row, acts);
  };

  (void)count_readable(corpus, target);

  EXPECT_EQ(corpus.training_pieces().size(), 31u);
  EXPECT_GE(calls, 32u);
  EXPECT_EQ(before, 0u);
  EXPECT_EQ(most, 1u);
}

// A request to stop lasts as long as the process.
TEST(ProbeDeathTest, is_dropped_at_the_next_panel_once_a_stop_was_asked_for) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(
      {
        const Planted planted("stop");
        const ProbeCorpus corpus(planted.sources(), {});
        int calls = 0;
        ProbeTarget target = neurons();
        const Encoder encode = target.encode;
        target.encode = [&](TensorView<const float> x, std::size_t first_row, SparseActs& acts) {
          ++calls;
          encode(x, first_row, acts);
          request_stop();
        };
        const Droppable droppable;
        try {
          (void)probe(corpus, target);
        } catch (const StopRequested&) {
          ::_exit(calls == 1 ? 7 : 8);
        }
        ::_exit(9);
      },
      testing::ExitedWithCode(7), "");
}

TEST(Features, that_are_damaged_or_missing_are_refused_with_what_makes_them_again) {
  const Planted planted("damaged");
  const fs::path file = planted.path("a.h5");
  const FeatureAtlas atlas = probe(ProbeCorpus(planted.sources(), {}), neurons());
  const std::string content = write_features(features_table(file, atlas, {}));
  const std::string whole = read_file(file);
  EXPECT_EQ(verify_features(file).content_digest, content);
  const std::size_t at = whole.find(" " + name(7));  // in an example's text
  ASSERT_NE(at, std::string::npos);
  std::string changed = whole;
  changed[at + 1] ^= 1;

  for (const std::string& bytes : {changed, whole.substr(0, whole.size() / 2), std::string()}) {
    write_file(file, bytes);
    EXPECT_THROW((void)verify_features(file), Damaged) << bytes.size();
    const std::string message = message_of([&] { (void)read_features(file); });
    EXPECT_NE(message.find("a.h5"), std::string::npos) << message;
    EXPECT_NE(message.find("Run refract probe: it makes the file again"), std::string::npos)
        << message;
  }
  write_features(features_table(file, atlas, {}));
  EXPECT_EQ(read_file(file), whole);
  EXPECT_NE(message_of([&] { (void)read_features(planted.path("b.h5")); }).find("not probed yet"),
            std::string::npos);
}

TEST(Probe, writes_a_file_that_reads_back_the_same_and_has_the_same_bytes_twice) {
  const Planted planted("file");
  const ProbeCorpus corpus(planted.sources(), {});
  FeatureAtlas atlas = probe(corpus, neurons());
  atlas.controls.push_back(count_readable(corpus, neurons()));
  atlas.features[0].neighbours = {{2, 0.5F}, {1, -0.25F}};

  write_features(features_table(planted.path("a.h5"), atlas, {{"weights", "0123456789abcdef"}}));
  write_features(features_table(planted.path("b.h5"), atlas, {{"weights", "0123456789abcdef"}}));
  const FeatureAtlas back = read_features(planted.path("a.h5"));

  EXPECT_EQ(read_file(planted.path("a.h5")), read_file(planted.path("b.h5")));
  EXPECT_EQ(verify_features(planted.path("a.h5")).parents.at("weights"), "0123456789abcdef");
  ASSERT_EQ(back.features.size(), atlas.features.size());
  EXPECT_EQ(back.count.readable, 1u);
  ASSERT_EQ(back.controls.size(), 1u);
  EXPECT_EQ(back.controls[0].name, "neurons");
  EXPECT_EQ(back.features[0].neighbours[1].feature, 1u);
  for (std::size_t f = 0; f < kD; ++f) {
    ASSERT_EQ(back.features[f].examples.size(), atlas.features[f].examples.size());
    ASSERT_EQ(back.features[f].keywords.size(), atlas.features[f].keywords.size());
    for (std::size_t i = 0; i < back.features[f].examples.size(); ++i) {
      EXPECT_EQ(back.features[f].examples[i].text, atlas.features[f].examples[i].text);
      EXPECT_EQ(back.features[f].examples[i].token_ends, atlas.features[f].examples[i].token_ends);
    }
  }
}

TEST(Probe, describes_a_feature_for_the_terminal) {
  const Planted planted("terminal");
  const ProbeCorpus corpus(planted.sources(), {});
  const FeatureAtlas atlas = probe(corpus, neurons());

  const std::string page = describe_feature(atlas, 2, false);

  EXPECT_NE(page.find("single token"), std::string::npos);
  EXPECT_NE(page.find("[ " + name(7) + "]"), std::string::npos);
  EXPECT_THROW((void)describe_feature(atlas, kD, false), ConfigError);
}

TEST(NeuronEncoder, keeps_the_k_largest_above_the_centre_and_ties_go_to_the_lower) {
  Tensor<float> x(Shape{2, 4});
  const std::vector<float> values{3, 2, 3, 9, 0, 0, 1, -1};
  std::copy(values.begin(), values.end(), x.span().begin());
  SparseActs acts;

  neuron_encoder({1, 0, 1, 9}, 2)(x.cview(), 0, acts);

  EXPECT_EQ(acts.row_starts, (std::vector<std::uint64_t>{0, 2, 2}));
  EXPECT_EQ(acts.features, (std::vector<std::uint32_t>{0, 1}));
  EXPECT_EQ(acts.values, (std::vector<float>{2, 2}));
}

}  // namespace
}  // namespace refract
