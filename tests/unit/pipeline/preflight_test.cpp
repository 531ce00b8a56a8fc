// What is known before is said before; the dry run's text.
#include "refract/pipeline/preflight.hpp"

#include <gtest/gtest.h>

#include <regex>
#include <string>
#include <unordered_set>

#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/pipeline/disk_plan.hpp"
#include "refract/pipeline/pipeline.hpp"
#include "refract/stages/heldout.hpp"
#include "refract/store/contexts.hpp"
#include "unit/store/scratch_folder.hpp"

namespace refract {
namespace {

using test::ScratchFolder;

const std::string kSource = REFRACT_SOURCE_DIR;
const std::string kDemo = kSource + "/configs/demo.yaml";

// The demo with one shard and a model of the test's own, in a scratch folder.
class BeforeStart : public ::testing::Test {
 protected:
  BeforeStart() { fs::copy(kSource + "/configs/demo/model", model_, fs::copy_options::recursive); }

  [[nodiscard]] RunConfig config(std::vector<std::string> settings = {}) const {
    settings.insert(
        settings.begin(),
        {"model=file:" + model_.string(), "data_root=" + (scratch_ / "data").string(),
         "source.from=file:" + kSource + "/configs/demo/shards/enwiki_namespace_0_0.jsonl.zst"});
    return load_run_config(kDemo, settings);
  }
  [[nodiscard]] static KnownBefore check(const RunConfig& config, Asks asks = Asks::everything) {
    return check_before_start(config, plan_download(config.source, config.data_root), asks);
  }
  template <typename Kind>
  [[nodiscard]] static std::string refusal(const RunConfig& config) {
    try {
      (void)check(config);
    } catch (const Kind& error) {
      return error.what();
    }
    return "nothing was refused";
  }
  // As the run leaves it once the shard is admitted. The rows to train on.
  std::uint64_t tokenize_the_corpus(const RunConfig& config) const {
    const DownloadPlan listed = plan_download(config.source, config.data_root);
    (void)fetch_shard(listed, 0);
    const ModelInfo info = read_model_info(model_);
    const auto tokenizer = open_tokenizer(config, info);
    const TokenizePlan plan =
        plan_tokenize(config.source, listed, *tokenizer, config.data_root, config.tokens.keep_text);
    (void)refract::tokenize_shard(plan, 0, *tokenizer);
    const TokenShard tokens(token_shard_path(plan, 0));
    std::vector<std::uint8_t> heldout;
    for (const std::uint64_t key : tokens.document_keys())
      heldout.push_back(is_heldout(key, config.heldout.share) ? 1 : 0);
    const ContextRule rule = context_rule(config, info);
    const ContextTableData table = build_contexts(
        rule, tokens.document_token_starts(),
        keep_documents(tokens.document_keys(), tokens.revisions(), SeenDocuments()), heldout);
    const fs::path folder = contexts_folder(config, rule, plan);
    make_folder(folder);
    write_contexts(folder / token_shard_path(plan, 0).filename(), table, {});
    std::uint64_t rows = 0;
    for (const std::uint8_t held : table.heldout) rows += held ? 0 : table.format.length;
    return rows;
  }

  ScratchFolder scratch_;
  fs::path model_ = scratch_ / "model";
};

TEST_F(BeforeStart, accepts_the_demo) {
  EXPECT_EQ(check(config()).model.layers, 6u);
  EXPECT_FALSE(check(config()).corpus_rows) << "nothing is tokenized yet";
  EXPECT_FALSE(fs::exists(scratch_ / "data" / "tokens")) << "something was written";
}

TEST_F(BeforeStart, refuses_a_hook_beyond_the_layers_and_names_the_setting) {
  const std::string hook = "blocks.9.hook_resid_post";
  const std::string text =
      refusal<ConfigError>(config({"hooks=[" + hook + "]", "saes.*.hook=" + hook}));

  EXPECT_NE(text.find("--set hooks: hook " + hook), std::string::npos) << text;
  EXPECT_NE(text.find("6 layers"), std::string::npos) << text;
}

TEST_F(BeforeStart, refuses_weights_cut_short_or_missing_unless_only_tokens_are_wanted) {
  fs::resize_file(model_ / "model.safetensors", 1'000'000);
  EXPECT_NE(refusal<DataError>(config()).find("model.safetensors"), std::string::npos);
  EXPECT_NO_THROW((void)check(config(), Asks::corpus));
  fs::remove(model_ / "model.safetensors");
  EXPECT_NE(refusal<DataError>(config()).find("model.safetensors"), std::string::npos);
}

TEST_F(BeforeStart, refuses_contexts_longer_than_the_models_positions) {
  EXPECT_NE(refusal<ConfigError>(config({"tokens.context=100000"})).find("--set tokens.context"),
            std::string::npos);
}

TEST_F(BeforeStart, refuses_a_tokenizer_that_is_unreadable_or_of_another_model) {
  const std::string whole = read_file(model_ / "tokenizer.json");
  write_file(model_ / "tokenizer.json",
             std::regex_replace(whole, std::regex("\\b8191\\b"), "9191"));
  EXPECT_NE(refusal<DataError>(config()), "nothing was refused");
  write_file(model_ / "tokenizer.json", "{");
  EXPECT_NE(refusal<DataError>(config()).find("tokenizer.json"), std::string::npos);
  EXPECT_THROW((void)check(config(), Asks::corpus), DataError);
}

TEST_F(BeforeStart, takes_a_bos_beyond_the_vocabulary_only_where_none_is_wanted) {
  const std::string whole = read_file(model_ / "config.json");
  write_file(
      model_ / "config.json",
      std::regex_replace(whole, std::regex("\"bos_token_id\": *\\d+"), "\"bos_token_id\": 9000"));
  const std::string text = refusal<DataError>(config());
  EXPECT_NE(text.find("bos_token_id 9000, beyond its 8192 embeddings"), std::string::npos) << text;
  EXPECT_NE(text.find("tokens.bos to none"), std::string::npos) << text;
  EXPECT_NO_THROW((void)check(config({"tokens.bos=none"})));
}

TEST_F(BeforeStart, says_that_bos_is_an_ordinary_word) {
  const auto said = [this](std::vector<std::string> settings) {
    testing::internal::CaptureStderr();
    (void)check(config(std::move(settings)));
    return testing::internal::GetCapturedStderr();
  };
  EXPECT_EQ(said({}).find("bos_token_id"), std::string::npos);
  const std::string whole = read_file(model_ / "config.json");
  write_file(
      model_ / "config.json",
      std::regex_replace(whole, std::regex("\"bos_token_id\": *\\d+"), "\"bos_token_id\": 262"));
  const std::string text = said({});
  EXPECT_NE(text.find("bos_token_id 262, which is '"), std::string::npos) << text;
  EXPECT_NE(text.find("an ordinary word of the tokenizer"), std::string::npos) << text;
  EXPECT_EQ(said({"tokens.bos=none"}).find("ordinary"), std::string::npos);
}

TEST_F(BeforeStart, says_which_added_tokens_the_model_has_no_embedding_for) {
  const std::string whole = read_file(model_ / "tokenizer.json");
  write_file(model_ / "tokenizer.json",
             std::regex_replace(
                 whole, std::regex("\"added_tokens\": *\\["),
                 "$&{\"id\": 8192, \"content\": \"<image>\", \"single_word\": false, \"lstrip\": "
                 "false, \"rstrip\": false, \"normalized\": false, \"special\": true}, "));
  testing::internal::CaptureStderr();
  testing::internal::CaptureStdout();
  (void)check(config());
  const std::string text =
      testing::internal::GetCapturedStderr() + testing::internal::GetCapturedStdout();
  EXPECT_NE(text.find("the model has 8192 embeddings, so where the corpus holds <image>"),
            std::string::npos)
      << text;
}

TEST_F(BeforeStart, refuses_a_quota_below_what_is_certain) {
  EXPECT_NE(refusal<ConfigError>(config({"disk.max_bytes=1MiB"})).find("--set disk.max_bytes"),
            std::string::npos);
}

TEST_F(BeforeStart, counts_the_rows_of_a_corpus_that_is_tokenized) {
  const RunConfig base = config({"train.tokens=all"});
  const std::uint64_t rows = tokenize_the_corpus(base);
  ASSERT_GT(rows, 0u);

  EXPECT_EQ(check(base).corpus_rows, rows);
  const std::uint64_t enough = rows / base.train.batch_rows * base.train.batch_rows;
  EXPECT_NO_THROW((void)check(config({fmt::format("train.tokens={}", enough)})));
  const std::string text =
      refusal<DataError>(config({fmt::format("train.tokens={}", enough + base.train.batch_rows)}));
  EXPECT_NE(text.find("--set train.tokens"), std::string::npos) << text;
  EXPECT_NE(text.find(std::to_string(rows)), std::string::npos) << text;
  // The advice: lower it to what there is.
  EXPECT_NO_THROW((void)check(config({fmt::format("train.tokens={}", rows)})));
  EXPECT_FALSE(check(config({"tokens.context=128"})).corpus_rows) << "other contexts";
}

TEST_F(BeforeStart, a_dry_run_says_when_a_feature_counts_as_dead_and_whether_that_is_reached) {
  const std::string reached = dry_run(config({"train.tokens=1048576"}), 1),
                    never = dry_run(config({"train.tokens=262144"}), 1);

  EXPECT_NE(reached.find("not fired for 262144 rows counts as dead; the first can"),
            std::string::npos)
      << reached;
  EXPECT_NE(never.find("AuxK never acts"), std::string::npos) << never;
}

TEST_F(BeforeStart, a_dry_run_proposes_a_chunk_that_waits_less_for_checkpoints) {
  const std::vector<std::string> wide{"saes.*.d_sae=65536", "train.tokens=33554432",
                                      "train.passes_per_chunk=1", "disk.max_bytes=1TiB",
                                      "submit.gflops=50"};
  const auto waits = [](const std::string& plan) {
    std::smatch found;
    EXPECT_TRUE(std::regex_search(
        plan, found, std::regex("on disk after ([0-9.e+]+) s .* steps take ([0-9.e+]+) s")))
        << plan;
    return std::stod(found[1]) / std::stod(found[2]);
  };
  const std::string plan = dry_run(config(wide), 128);
  std::smatch proposed;
  ASSERT_TRUE(std::regex_search(
      plan, proposed,
      std::regex("store.chunk_rows ([0-9]+) with store.block_rows ([0-9]+) would wait less")))
      << plan;

  std::vector<std::string> taken = wide;
  taken.push_back("store.chunk_rows=" + proposed[1].str());
  taken.push_back("store.block_rows=" + proposed[2].str());
  const std::string better = dry_run(config(taken), 128);

  EXPECT_LT(waits(better), 0.6 * waits(plan));
  EXPECT_EQ(config().store.chunk_rows, 131072u) << "the default is no measurement";
}

TEST_F(BeforeStart, a_dry_run_of_the_corpus_alone_says_nothing_of_training) {
  const std::string text =
      dry_run(load_run_config(kDemo,
                              {"saes=[]", "model=file:" + model_.string(),
                               "source.from=file:" + kSource + "/configs/demo/shards/*.zst"},
                              Asks::corpus),
              1, Asks::corpus);

  EXPECT_NE(text.find("Corpus     8 shards"), std::string::npos) << text;
  EXPECT_EQ(text.find("Steps"), std::string::npos) << text;
}

TEST(DiskPlan, counts_what_is_kept_by_class) {
  const ModelInfo model = read_model_info(kSource + "/configs/demo/model");
  const auto bytes = [&](const std::vector<std::string>& settings, const std::string& name,
                         std::uint64_t visits) -> std::uint64_t {
    for (const auto& [found, size] :
         plan_disk(load_run_config(kDemo, settings), model, 0, visits, visits).classes)
      if (found == name) return size;
    ADD_FAILURE() << "no class " << name;
    return 0;
  };
  const std::string exports = "SAELens folders", evidence = "evidence rows";

  EXPECT_EQ(bytes({"checkpoint.keep=spread"}, exports, 32),
            bytes({"checkpoint.keep=spread"}, exports, 5000));
  EXPECT_LT(bytes({"checkpoint.keep=spread"}, exports, 5000),
            bytes({"checkpoint.keep=all"}, exports, 5000));
  EXPECT_LT(bytes({"checkpoint.keep=2"}, exports, 5000),
            bytes({"checkpoint.keep=spread"}, exports, 5000));
  EXPECT_LT(bytes({"probe.tokens=4096"}, evidence, 5), bytes({}, evidence, 5));
  EXPECT_EQ(bytes({"probe.tokens=500_000"}, evidence, 1),
            bytes({"probe.tokens=131072"}, evidence, 1))
      << "there is only one chunk of rows";
}

}  // namespace
}  // namespace refract
