#include "refract/store/manifest.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "unit/store/chunk_fixture.hpp"
#include "unit/store/scratch_folder.hpp"

namespace refract {
namespace {

using test::expect_contains;
using test::ScratchFolder;

TEST(Manifest, tells_model_version_last_update_and_files_processed) {
  StoreManifest manifest;
  manifest.model_name = "openai/gpt2 \"small\"";
  manifest.model_version = "main@1234";
  manifest.files_processed = 3;
  manifest.hooks = {{"blocks.4.hook_resid_post", 64}};
  manifest.chunks = 2;
  manifest.rows = 150;

  const std::string text = manifest_text(manifest, "2026-01-01T00:00:00Z");

  for (const char* part :
       {"model_name: \"openai/gpt2 \\\"small\\\"\"\n", "model_version: \"main@1234\"\n",
        "last_updated: \"2026-01-01T00:00:00Z\"\n",
        "files_processed: 3\nfiles: \"../corpus.json\"\n", "chunks: 2\nrows: 150\n",
        "version: 2\n"})
    expect_contains(text, part);
}

TEST(Manifest, has_as_many_lines_for_a_million_files_as_for_one) {
  StoreManifest one, million;
  one.files_processed = 1;
  million.files_processed = million.chunks = 1'000'000;

  const auto lines = [](const StoreManifest& manifest) {
    return std::ranges::count(manifest_text(manifest, "2026-01-01T00:00:00Z"), '\n');
  };

  EXPECT_EQ(lines(one), lines(million));
}

TEST(Manifest, is_replaced_as_a_whole) {
  const ScratchFolder folder;
  write_manifest(folder / "manifest.yaml", {});

  StoreManifest second;
  second.model_name = "demo";
  write_manifest(folder / "manifest.yaml", second);

  expect_contains(read_file(folder / "manifest.yaml"), "model_name: \"demo\"");
  EXPECT_EQ(folder.files(), 1u);
}

TEST(ChunkList, has_a_line_per_chunk_whose_last_one_counts) {
  const ScratchFolder folder;
  const fs::path file = folder / "chunks.jsonl";
  append_chunk(file, {0, 100, 4096, "aa", false});
  append_chunk(file, {1, 50, 2048, "bb", false});
  append_chunk(file, {0, 100, 4096, "aa", true});

  const std::string text = read_file(file);

  expect_contains(text, R"({"chunk":1,"file":"chunk-000001.h5","rows":50,"bytes":2048,)"
                        R"("digest":"bb","evicted":false})");
  EXPECT_GT(text.rfind(R"("chunk":0)"), text.find(R"("chunk":1)"));
}

TEST(ChunkList, is_made_to_say_what_there_is_and_else_left_alone) {
  const ScratchFolder folder;
  const fs::path file = folder / "chunks.jsonl";
  const std::vector<SealedChunk> chunks{{0, 100, 4096, "aa", true}, {1, 50, 2048, "bb", false}};
  write_file(file, "torn");

  write_chunk_list(file, chunks);
  const auto written = fs::last_write_time(file);
  write_chunk_list(file, chunks);

  EXPECT_EQ(read_file(file), chunk_line(chunks[0]) + "\n" + chunk_line(chunks[1]) + "\n");
  EXPECT_EQ(fs::last_write_time(file), written);
}

TEST(StoreDigest, depends_on_settings_calibration_and_the_order_of_chunks) {
  const std::string store = store_digest("seed 1", "cal");

  EXPECT_NE(store, store_digest("seed 2", "cal"));
  EXPECT_NE(store, store_digest("seed 1", "lac"));
  EXPECT_EQ(store.size(), 16u);
  EXPECT_NE(extend_digest(extend_digest(store, "a"), "b"),
            extend_digest(extend_digest(store, "b"), "a"));
}

}  // namespace
}  // namespace refract
