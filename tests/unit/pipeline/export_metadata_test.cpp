#include "pipeline/export_metadata.hpp"

#include <gtest/gtest.h>

#include "support/checkpoint_run.hpp"

namespace refract {
namespace {

using testing_support::CheckpointRun;

class ExportMetadata : public ::testing::Test {
 protected:
  [[nodiscard]] std::map<std::string, std::string> of(const std::string& metrics_line = "") {
    CheckpointedRun checkpointed = run_.checkpointed();
    checkpointed.model = {"openai-community/gpt2", "gpt2"};
    const TrainedSae& sae = run_.saes().front();
    return export_metadata(checkpointed, sae, sae.variant->export_for_saelens(sae.used()),
                           metrics_line);
  }
  CheckpointRun run_{fs::path(::testing::TempDir()) / "export_metadata", 1};
};

TEST_F(ExportMetadata, names_the_model_and_its_module_and_how_it_must_be_loaded) {
  auto metadata = of();

  EXPECT_EQ(metadata["model_name"], "\"openai-community/gpt2\"");
  EXPECT_EQ(metadata["hook_name"], "\"blocks.0.hook_resid_post\"");
  EXPECT_EQ(metadata["hf_hook_name"], "\"transformer.h.0\"");
  EXPECT_NE(metadata["model_from_pretrained_kwargs"].find(R"("center_writing_weights":false)"),
            std::string::npos);
  EXPECT_EQ(metadata["training_architecture"], "\"topk\"");
  EXPECT_EQ(metadata["training_architecture_details"], R"({"k":4})");
}

TEST_F(ExportMetadata, says_bos_before_every_context_only_where_it_was) {
  for (const auto& [packing, bos, prepend, separator, alone] :
       {std::tuple{"packed", "document_start", "false", "\"bos\"", "false"},
        {"packed", "each_context", "true", "\"bos\"", "false"},
        {"concat", "none", "false", "null", "false"},
        {"document", "each_context", "true", "null", "true"}}) {
    run_.config().tokens.packing = packing;
    run_.config().tokens.bos = bos;
    auto metadata = of();
    EXPECT_EQ(metadata["prepend_bos"], prepend) << packing << " " << bos;
    EXPECT_EQ(metadata["sequence_separator_token"], separator) << packing << " " << bos;
    EXPECT_EQ(metadata["disable_concat_sequences"], alone) << packing << " " << bos;
  }
}

TEST_F(ExportMetadata, has_l0_and_dead_features_where_the_visit_was_measured) {
  EXPECT_FALSE(of().contains("l0"));
  EXPECT_FALSE(of("{}").contains("num_dead_features"));

  auto metadata = of(R"({"l0":3.5,"train":{"l0":4,"dead":17}})");

  EXPECT_EQ(metadata["l0"], "3.5");
  EXPECT_EQ(metadata["num_dead_features"], "17");
}

TEST(DatasetName, leaves_out_folders_and_revisions) {
  EXPECT_EQ(dataset_name("file:some/where/enwiki_*.jsonl.zst"), "enwiki_*.jsonl.zst");
  EXPECT_EQ(dataset_name("hf:wikimedia/wikipedia@main"), "wikimedia/wikipedia");
}

TEST(ModelPublicName, is_the_hubs_else_what_config_json_says_else_the_folders) {
  RunConfig config;
  const auto name = [&](const char* model, const char* name_or_path) {
    config.model = model;
    return model_public_name(config, name_or_path, "folder");
  };

  EXPECT_EQ(name("google/gemma-3-270m@rev", "elsewhere"), "google/gemma-3-270m");
  EXPECT_EQ(name("file:models/mine", "openai-community/gpt2"), "openai-community/gpt2");
  EXPECT_EQ(name("file:models/mine", "../checkpoints/7"), "folder");
  EXPECT_EQ(name("file:models/mine", ""), "folder");
}

}  // namespace
}  // namespace refract
