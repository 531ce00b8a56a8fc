#include "refract/store/manifest.hpp"

#include <gtest/gtest.h>

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
  manifest.files_processed = {"enwiki_namespace_0_0.jsonl.zst"};
  manifest.hooks = {{"blocks.4.hook_resid_post", 64}};
  manifest.chunks = {{0, 100, 4096, "aa", true}, {1, 50, 2048, "bb", false}};

  const std::string text = manifest_text(manifest, "2026-01-01T00:00:00Z");

  for (const char* part :
       {"model_name: \"openai/gpt2 \\\"small\\\"\"\n", "model_version: \"main@1234\"\n",
        "last_updated: \"2026-01-01T00:00:00Z\"\n", "  - \"enwiki_namespace_0_0.jsonl.zst\"\n",
        "rows: 150\n",
        "{file: chunk-000001.h5, rows: 50, bytes: 2048, digest: \"bb\", evicted: false}"})
    expect_contains(text, part);
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

TEST(SealedChunks, lists_whole_chunks_in_chunk_order) {
  const ScratchFolder folder;
  Communicator alone = Communicator::loopback();
  for (const std::uint64_t chunk : {2, 0, 1}) test::write_chunk(folder.path(), chunk, alone);
  write_file(folder / "chunk-000003.h5.part", "unfinished");

  const std::vector<SealedChunk> chunks = sealed_chunks(folder.path());

  ASSERT_EQ(chunks.size(), 3u);
  for (std::uint64_t i = 0; i < 3; ++i) EXPECT_EQ(chunks[i].chunk, i);
  EXPECT_EQ(chunks[0].bytes, fs::file_size(folder / "chunk-000000.h5"));
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
