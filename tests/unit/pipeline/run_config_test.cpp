#include "refract/pipeline/run_config.hpp"
#include "refract/pipeline/identity.hpp"

#include <gtest/gtest.h>

#include "refract/base/error.hpp"
#include "refract/pipeline/disk_plan.hpp"
#include "refract/pipeline/numerics.hpp"

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

TEST(RunConfig, refuses_impossible_combinations_and_names_the_setting) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"saes.0.k=4096", "saes.0"},
      {"saes.0.hook=blocks.1.hook_resid_post", "saes.0.hook"},
      {"saes.*.name=a", "saes.1.name"},
      {"saes.0.variant=magic", "magic"},
      {"store.chunk_rows=131073", "store.chunk_rows"},
      {"train.batch_rows=4097", "train.batch_rows"},
      {"train.corpus_passes=2", "store.mode"},
      {"train.tokens=-5", "train.tokens"},
      {"rows.take=first", "rows.take"},
      {"hooks=[blocks.4.nowhere]", "nowhere"},
      {"report.file=../x.html", "report.file"},
      {"store.mode=memory", "store.mode"},
      {"saes.0.name=../x", "saes.0.name"}};
  for (const auto& [override_text, expected] : cases)
    EXPECT_NE(failure({override_text}).find(expected), std::string::npos)
        << override_text << ": " << failure({override_text});
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

TEST(RunConfig, a_digest_covers_what_changes_results_and_nothing_else) {
  const RunConfig base = load_run_config(kDemo, {});
  for (const char* same : {"run=other", "data_root=elsewhere", "disk.max_bytes=9GiB",
                           "checkpoint.every_s=5", "probe.examples=3"}) {
    const RunConfig changed = load_run_config(kDemo, {same});
    EXPECT_EQ(as_text(store_settings(base)), as_text(store_settings(changed))) << same;
    EXPECT_EQ(as_text(training_settings(base, 0)), as_text(training_settings(changed, 0))) << same;
    EXPECT_EQ(first_difference(base, changed), "") << same;
  }
  for (const char* other : {"store.seed=2", "tokens.context=128", "rows.take=last",
                            "heldout.share=0.2", "store.dtype=fp32"})
    EXPECT_NE(as_text(store_settings(base)),
              as_text(store_settings(load_run_config(kDemo, {other}))))
        << other;
  for (const char* other :
       {"train.clip=2", "saes.0.k=8", "train.optimizer.lr=1e-4", "saes.0.aux.coefficient=0"}) {
    EXPECT_NE(as_text(training_settings(base, 0)),
              as_text(training_settings(load_run_config(kDemo, {other}), 0)))
        << other;
    EXPECT_NE(first_difference(base, load_run_config(kDemo, {other})), "") << other;
  }
}

TEST(RunConfig, says_which_setting_differs_from_the_frozen_one) {
  const std::string text =
      first_difference(load_run_config(kDemo, {}), load_run_config(kDemo, {"train.clip=2"}));

  EXPECT_EQ(text, "train.clip: was 1, is now 2");
}

TEST(Settings, have_a_reference_for_every_section) {
  EXPECT_NE(settings_reference("train").find("train.optimizer.lr"), std::string::npos);
  EXPECT_NE(settings_reference("").find("saes.N.k"), std::string::npos);
  EXPECT_THROW((void)settings_reference("nothing"), ConfigError);
}

TEST(Numerics, may_change_rank_count_only_under_ordered) {
  const RunConfig fast = load_run_config(kDemo, {}),
                  ordered = load_run_config(kDemo, {"train.reduction=ordered"});
  Numerics one = current_numerics(fast, 1), two = current_numerics(fast, 2);

  EXPECT_NE(numerics_difference(one, two, fast), "");
  EXPECT_EQ(numerics_difference(one, two, ordered), "");
  two = one;
  two.gemm = "another";
  EXPECT_NE(numerics_difference(one, two, ordered), "");
}

TEST(DiskPlan, refuses_a_quota_that_holds_no_chunk_and_says_how_much_is_needed) {
  const RunConfig config = load_run_config(kDemo, {"disk.max_bytes=64MiB"});
  const ModelInfo model{.family = "gpt2", .layers = 6, .d_model = 256, .digest = ""};

  EXPECT_THROW(check_disk(plan_disk(config, model, 1000, 7, 7), config), ConfigError);
  EXPECT_NO_THROW(check_disk(plan_disk(load_run_config(kDemo, {}), model, 1000, 7, 7),
                             load_run_config(kDemo, {})));
}

}  // namespace
}  // namespace refract
