#include "refract/pipeline/run_config.hpp"

#include "refract/pipeline/identity.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include <array>
#include <cstdlib>
#include <optional>

#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/pipeline/disk_plan.hpp"
#include "refract/pipeline/numerics.hpp"
#include "refract/pipeline/run_evaluation.hpp"
#include "refract/sae/normaliser.hpp"

namespace refract {
namespace {

const std::string kDemo = std::string(REFRACT_SOURCE_DIR) + "/configs/demo.yaml";

std::string failure(const std::vector<std::string>& overrides) {
  try {
    (void)load_run_config(kDemo, overrides);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

TEST(RunConfig, reads_the_demo_and_prints_what_it_reads_back) {
  const RunConfig config = load_run_config(kDemo, {"saes.0.k=64"});

  EXPECT_EQ(config.saes.at(0).k, 64u);
  EXPECT_EQ(to_yaml(config), to_yaml(run_config_from_text(to_yaml(config), "printed")));
}

TEST(RunConfig, names_the_layers_that_are_told_by_the_depth_of_the_model) {
  // Of its depth, so of a folder that is there.
  const std::string model = std::string("model=file:") + REFRACT_SOURCE_DIR + "/configs/demo/model";
  const RunConfig last = load_run_config(kDemo, {model, "hooks=[last]", "saes.*.hook=last"});
  EXPECT_EQ(last.hooks, std::vector<std::string>{"blocks.5.hook_resid_post"});
  EXPECT_EQ(last.saes.at(1).hooks, last.hooks);
  EXPECT_EQ(to_yaml(last).find("last]"), std::string::npos);

  const RunConfig middle = load_run_config(kDemo, {model, "hooks=[blocks.50%.hook_resid_post]",
                                                   "saes.*.hook=blocks.-3.hook_resid_post"});
  EXPECT_EQ(middle.hooks, std::vector<std::string>{"blocks.3.hook_resid_post"});
  EXPECT_EQ(middle.saes.at(0).hooks, middle.hooks);

  try {
    (void)load_run_config(kDemo, {model, "hooks=[blocks.-7.hook_resid_post]"});
    FAIL() << "a layer before the first was taken";
  } catch (const ConfigError& error) {
    EXPECT_NE(std::string(error.what()).find("--set hooks: hook 'blocks.-7.hook_resid_post'"),
              std::string::npos)
        << error.what();
  }
}

TEST(RunConfig, refuses_impossible_combinations_and_names_the_setting) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"saes.0.k=4096", "saes.0"},
      {"saes.0.hook=blocks.1.hook_resid_post", "saes.0.hook"},
      {"saes.0.hook=[blocks.2.hook_resid_post, blocks.1.hook_resid_post]",
       "saes.0.hook is 'blocks.1.hook_resid_post', which hooks: does not list"},
      {"saes.0.hook=[blocks.2.hook_resid_post, blocks.2.hook_resid_post]",
       "saes.0.hook lists 'blocks.2.hook_resid_post' twice"},
      {"saes.0.target_hook=blocks.1.hook_resid_post",
       "saes.0.target_hook is 'blocks.1.hook_resid_post', which hooks: does not list"},
      {"saes.*.name=a", "saes.1.name"},
      {"saes.0.variant=magic", "magic"},
      {"store.chunk_rows=131073", "store.chunk_rows"},
      {"train.batch_rows=4097", "train.batch_rows"},
      {"train.corpus_passes=2", "store.mode"},
      {"train.tokens=-5", "train.tokens"},
      {"rows.take=first", "rows.take"},
      {"hooks=[blocks.4.nowhere]", "nowhere"},
      {"tokens.window_shards=4294967296", "tokens.window_shards"},
      {"saes.0.d_sae=4294967296", "saes.0.d_sae"},
      {"saes.99999999999999999999.k=1", "saes.99999999999999999999.k"},
      {"disk.max_bytes=16EiB", "disk.max_bytes"},
      {"train.tokens=1e30", "train.tokens"},
      {"train.tokens=100", "train.tokens"},
      {"run=\"\"", "run is empty"},
      {"data_root=\"\"", "data_root is empty"}};
  for (const auto& [override_text, expected] : cases) {
    const std::string text = failure({override_text});
    EXPECT_NE(text.find(expected), std::string::npos) << override_text << ": " << text;
    EXPECT_NE(text.find("--set"), std::string::npos) << "not where it was given: " << text;
  }
}

TEST(RunConfig, takes_for_files_and_folders_plain_names_alone) {
  for (const char* name : {"ledger.jsonl", "run.yaml", "status", "../x.html", "a/b.html", ".html",
                           "\"\"", "run.lock", "report.html.part", "a b.html"})
    EXPECT_NE(failure({std::string("report.file=") + name}).find("report.file is '"),
              std::string::npos)
        << name;
  for (const char* name : {"..", ".", "\"\"", "../x", "a/b", "a b", ".hidden"})
    EXPECT_NE(failure({std::string("saes.0.name=") + name}).find("saes.0.name is '"),
              std::string::npos)
        << name;
  EXPECT_NE(failure({"saes.0.name=" + std::string(200, 'a')}).find("at most 100"),
            std::string::npos);
  EXPECT_EQ(failure({"saes.0.name=Big", "saes.1.name=big", "report.file=my-report_2.html"}),
            "no error");
}

TEST(RunConfig, says_not_built_of_what_the_format_has_and_this_version_lacks) {
  for (const char* setting : {"saes.0.target_hook=blocks.3.hook_resid_post",
                              "saes.0.hook=[blocks.2.hook_resid_post, blocks.3.hook_resid_post]",
                              "store.mode=memory", "store.path=elsewhere", "store.dtype=int8",
                              "extract.dtype=bf16", "source.from=hf:wikimedia/wikipedia"}) {
    const std::string key = std::string(setting).substr(0, std::string(setting).find('='));
    try {
      (void)load_run_config(
          kDemo, {"hooks=[blocks.2.hook_resid_post, blocks.3.hook_resid_post]", setting});
      FAIL() << setting << " was taken";
    } catch (const NotBuilt& error) {
      EXPECT_NE(std::string(error.what()).find("--set " + key + ": " + key), std::string::npos)
          << error.what();
      EXPECT_NE(std::string(error.what()).find("not built"), std::string::npos) << error.what();
    }
  }
  EXPECT_THROW((void)load_run_config(kDemo, {"store.pith=x"}), ConfigError);
  EXPECT_NE(settings_reference("train").find("train.mesh"), std::string::npos);
  EXPECT_NE(settings_reference("store").find("not built: memory"), std::string::npos);
}

TEST(RunConfig, takes_every_word_of_normalize_where_it_can_be_put_back) {
  for (const std::string_view word : normalize_words())
    EXPECT_EQ(load_run_config(kDemo, {fmt::format("saes.*.normalize={}", word)}).saes[1].normalize,
              word);
  const auto transcoder = [](const std::string& word) {
    return failure({"hooks=[blocks.2.ln2.hook_normalized, blocks.2.hook_mlp_out]",
                    "saes.*.hook=blocks.2.ln2.hook_normalized", "saes.0.variant=relu", "saes.0.k=0",
                    "saes.0.target_hook=blocks.2.hook_mlp_out", "saes.0.normalize=" + word});
  };
  EXPECT_EQ(transcoder("whiten"), "no error");
  EXPECT_NE(transcoder("layer_norm").find("saes.0.normalize is layer_norm, but what a transcoder"),
            std::string::npos)
      << transcoder("layer_norm");
}

TEST(RunConfig, takes_a_target_hook_for_the_variants_that_are_transcoders) {
  const std::string input = "blocks.2.ln2.hook_normalized", output = "blocks.2.hook_mlp_out";
  const auto given = [&](const std::string& hook, const std::string& target) {
    return std::vector<std::string>{"hooks=[" + input + ", " + output + "]", "saes.*.hook=" + hook,
                                    "saes.0.target_hook=" + target};
  };
  const auto relu = [](std::vector<std::string> overrides) {
    overrides.insert(overrides.end(), {"saes.0.variant=relu", "saes.0.k=0"});
    return overrides;
  };

  EXPECT_TRUE(is_transcoder(load_run_config(kDemo, relu(given(input, output))).saes.at(0)));
  EXPECT_FALSE(is_transcoder(load_run_config(kDemo, given(input, input)).saes.at(0)));
  try {
    (void)load_run_config(kDemo, given(input, output));
    FAIL() << "topk was taken";
  } catch (const NotBuilt& error) {
    EXPECT_NE(
        std::string(error.what())
            .find("saes.0.target_hook is 'blocks.2.hook_mlp_out' of variant topk, which is not "
                  "built in this version. Use variant relu."),
        std::string::npos)
        << error.what();
  }
  const std::string backwards = failure(relu(given(output, input)));
  EXPECT_NE(backwards.find("saes.0.target_hook is 'blocks.2.ln2.hook_normalized', which the model "
                           "reaches before 'blocks.2.hook_mlp_out'"),
            std::string::npos)
      << backwards;
}

TEST(RunConfig, makes_an_sae_of_each_seed) {
  const RunConfig config = load_run_config(kDemo, {"saes.0.seeds=3", "saes.0.seed=7"});

  EXPECT_EQ(sae_names(config),
            (std::vector<std::string>{"small-seed7", "small-seed8", "small-seed9", "big"}));
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(config.saes[i].seed, 7 + i);
    EXPECT_EQ(config.saes[i].k, config.saes[0].k);
  }
  EXPECT_EQ(seed_families(config),
            (std::vector<std::vector<std::string>>{{"small-seed7", "small-seed8", "small-seed9"}}));
  // What a run is frozen as is read as it is.
  EXPECT_EQ(to_yaml(run_config_from_text(to_yaml(config), "run.yaml")), to_yaml(config));
  EXPECT_NE(failure({"saes.0.seeds=2", "saes.1.name=small-seed1"}).find("there is already"),
            std::string::npos);
  EXPECT_NE(failure({"saes.0.seeds=0"}).find("saes.0.seeds"), std::string::npos);
}

TEST(RunConfig, takes_a_list_of_one_hook_for_that_hook) {
  const RunConfig config = load_run_config(kDemo, {"saes.0.hook=[blocks.2.hook_resid_post]"});

  EXPECT_EQ(config.saes.at(0).hooks, std::vector<std::string>{"blocks.2.hook_resid_post"});
  EXPECT_EQ(as_text(training_settings(config, 0)),
            as_text(training_settings(load_run_config(kDemo, {}), 0)));
}

TEST(RunConfig, cites_the_users_file_after_another_read) {
  const RunConfig mine = load_run_config(kDemo, {"train.clip=2"});
  (void)run_config_from_text(to_yaml(mine), "run.yaml");

  EXPECT_EQ(where_given(mine, "train.clip"), "--set train.clip");
  EXPECT_TRUE(where_given(mine, "model").starts_with(kDemo + ":")) << where_given(mine, "model");
  EXPECT_EQ(where_given(mine, "pipeline.watchdog_s"), "default");
}

TEST(RunConfig, asks_nothing_of_training_where_only_the_corpus_is_wanted) {
  for (const char* setting : {"train.batch_rows=4097", "saes=[]", "hooks=[]", "train.tokens=1"}) {
    EXPECT_NE(failure({setting}), "no error") << setting;
    EXPECT_NO_THROW((void)load_run_config(kDemo, {setting}, Asks::corpus)) << setting;
  }
  EXPECT_THROW((void)load_run_config(kDemo, {"source.from=\"\""}, Asks::corpus), ConfigError);
}

TEST(RunConfig, refuses_run_yaml_and_says_what_it_is) {
  const fs::path file = fs::path(::testing::TempDir()) / "refract_frozen_run.yaml";
  const RunConfig config = load_run_config(kDemo, {});
  write_file(file, frozen_text({.config = config,
                                .inputs = {},
                                .numerics = current_numerics(config, ModelInfo(), 1)}));

  try {
    (void)load_run_config(file.string(), {});
    FAIL() << "run.yaml was taken";
  } catch (const ConfigError& error) {
    EXPECT_NE(std::string(error.what()).find("frozen configuration of a run"), std::string::npos);
  }
  fs::remove(file);
}

TEST(ModelSetting, refuses_a_path_without_file_and_says_how_to_write_it) {
  for (const char* path : {"/models/gpt2", "./gpt2", "../gpt2", "~/gpt2", "a/b/c"})
    EXPECT_NE(failure({std::string("model=") + path}).find("write file:"), std::string::npos)
        << path;
  for (const char* name : {"file:", "a b", "owner/..", "owner/name@../..", "owner/name@", "/"})
    EXPECT_NE(failure({std::string("model=") + name}), "no error") << name;
}

// A Hugging Face cache with one model, and an environment that has only what a test gives it.
class HubCache : public ::testing::Test {
 protected:
  HubCache() {
    for (const char* name : kNames) {
      const char* value = std::getenv(name);
      before_.emplace_back(name, value ? std::optional<std::string>(value) : std::nullopt);
      ::unsetenv(name);
    }
    fs::remove_all(home_);
    ::setenv("HOME", home_.c_str(), 1);
  }
  ~HubCache() override {
    for (const auto& [name, value] : before_)
      value ? ::setenv(name.c_str(), value->c_str(), 1) : ::unsetenv(name.c_str());
    fs::remove_all(home_);
  }
  fs::path put_model(const fs::path& cache) const {
    const fs::path repository = cache / "models--owner--name";
    fs::create_directories(repository / "snapshots" / "0f0f");
    write_file((fs::create_directories(repository / "refs" / "pr"), repository / "refs" / "main"),
               "0f0f\n");
    write_file(repository / "refs" / "pr" / "1", "0f0f");
    return repository / "snapshots" / "0f0f";
  }
  static fs::path found(const std::string& model) {
    RunConfig config;
    config.model = model;
    return model_folder(config);
  }
  static constexpr std::array kNames{"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME",
                                     "XDG_CACHE_HOME", "HOME"};
  fs::path home_ = fs::path(::testing::TempDir()) / fmt::format("refract_hub_cache_{}", ::getpid());

 private:
  std::vector<std::pair<std::string, std::optional<std::string>>> before_;
};

TEST_F(HubCache, is_where_huggingface_hub_has_it) {
  const fs::path at_home = put_model(home_ / ".cache/huggingface/hub"),
                 xdg = put_model(home_ / "xdg/huggingface/hub"), hf = put_model(home_ / "hf/hub"),
                 old = put_model(home_ / "old"), hub = put_model(home_ / "hub");

  EXPECT_EQ(found("owner/name"), at_home);
  ::setenv("XDG_CACHE_HOME", (home_ / "xdg").c_str(), 1);
  EXPECT_EQ(found("owner/name"), xdg);
  ::setenv("HF_HOME", "~/hf", 1);
  EXPECT_EQ(found("owner/name"), hf);
  ::setenv("HUGGINGFACE_HUB_CACHE", (home_ / "old").c_str(), 1);
  EXPECT_EQ(found("owner/name"), old);
  ::setenv("HF_HUB_CACHE", (home_ / "hub").c_str(), 1);
  EXPECT_EQ(found("owner/name"), hub);
  ::setenv("HF_HUB_CACHE", "", 1);
  EXPECT_EQ(found("owner/name"), old);
}

TEST_F(HubCache, gives_the_revision_asked_for_or_says_what_is_missing) {
  const fs::path snapshot = put_model(home_ / ".cache/huggingface/hub");

  for (const char* model : {"owner/name", "owner/name@main", "owner/name@0f0f", "owner/name@pr/1"})
    EXPECT_EQ(found(model), snapshot) << model;
  for (const char* model : {"owner/other", "owner/name@1e1e"}) {
    try {
      (void)found(model);
      FAIL() << model;
    } catch (const ConfigError& error) {
      EXPECT_NE(std::string(error.what()).find((home_ / ".cache/huggingface/hub").string()),
                std::string::npos)
          << error.what();
    }
  }
}

TEST(KeepRule, is_read_from_every_form_it_is_written_in) {
  using Kind = KeepRule::Kind;
  const auto rule = [](const std::string& value) {
    return keep_rule(load_run_config(kDemo, {"checkpoint.keep=" + value}));
  };

  EXPECT_EQ(rule("spread"), (KeepRule{Kind::spread, 0}));
  EXPECT_EQ(rule("all"), (KeepRule{Kind::all, 0}));
  EXPECT_EQ(rule("3"), (KeepRule{Kind::last, 3}));
  EXPECT_EQ(rule("every 4"), (KeepRule{Kind::every, 4}));
  EXPECT_EQ(rule("{every: 4}"), (KeepRule{Kind::every, 4}));
}

TEST(KeepRule, refuses_what_is_no_rule_and_says_what_is) {
  for (const char* value : {"every two", "1e1", "every 0", "0", "-1", "every -1", "every", "1.5",
                            "every 99999999999999999999", "some"}) {
    const std::string text = failure({std::string("checkpoint.keep=") + value});
    EXPECT_NE(text.find("--set checkpoint.keep: checkpoint.keep is '"), std::string::npos) << text;
    EXPECT_NE(text.find("spread, all"), std::string::npos) << text;
  }
}

TEST(Settings, have_a_reference_for_every_section) {
  EXPECT_NE(settings_reference("train").find("train.optimizer.lr"), std::string::npos);
  EXPECT_NE(settings_reference("").find("saes.N.k"), std::string::npos);
  EXPECT_THROW((void)settings_reference("nothing"), ConfigError);
}

TEST(DiskPlan, counts_the_weights_of_what_an_sae_reads_and_of_what_it_reconstructs) {
  const ModelInfo model{.family = "gpt2", .layers = 6, .d_model = 256};
  RunConfig config = load_run_config(kDemo, {});
  SaeConfig& sae = config.saes.at(0);
  sae.d_sae = 1000;
  EXPECT_EQ(sae_parameters(sae, model), 1000U * (256 + 1 + 256) + 256);
  const std::uint64_t one = plan_disk(config, model, 1000, 7, 7).fixed_bytes();

  sae.hooks = {"blocks.2.ln2.hook_normalized", "blocks.3.ln2.hook_normalized"};
  EXPECT_EQ(input_width(sae, model), 512U);
  EXPECT_EQ(target_width(sae, model), 512U);
  EXPECT_EQ(sae_parameters(sae, model), 1000U * (512 + 1 + 512) + 512);

  sae.target_hook = "blocks.3.hook_mlp_out";
  EXPECT_EQ(input_width(sae, model), 512U);
  EXPECT_EQ(target_width(sae, model), 256U);
  EXPECT_EQ(sae_parameters(sae, model), 1000U * (512 + 1 + 256) + 256);
  // Four trainer states of 12 bytes a weight, and exports in bf16 (7 visits) and fp32 (2).
  EXPECT_EQ(plan_disk(config, model, 1000, 7, 7).fixed_bytes() - one,
            1000U * 256U * (4 * 12 + 7 * 2 + 2 * 4));
}

TEST(DiskPlan, refuses_a_quota_that_holds_no_chunk_and_says_how_much_is_needed) {
  const RunConfig config = load_run_config(kDemo, {"disk.max_bytes=64MiB"});
  const ModelInfo model{.family = "gpt2", .layers = 6, .d_model = 256};

  EXPECT_THROW(check_disk(plan_disk(config, model, 1000, 7, 7), config), ConfigError);
  EXPECT_NO_THROW(check_disk(plan_disk(load_run_config(kDemo, {}), model, 1000, 7, 7),
                             load_run_config(kDemo, {})));
}

}  // namespace
}  // namespace refract
