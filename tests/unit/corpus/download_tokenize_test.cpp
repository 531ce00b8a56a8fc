// The stages download and tokenize on the shards that ship with the demo.
#include <map>

#include "refract/base/digest.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/parallel.hpp"
#include "refract/base/progress.hpp"
#include "refract/stages/download.hpp"
#include "refract/stages/tokenize.hpp"
#include "refract/store/token_shard.hpp"
#include "unit/corpus/corpus_fixture.hpp"

namespace refract {
namespace {

const fs::path kDemo = fs::path(REFRACT_SOURCE_DIR) / "configs/demo";

class Stages : public CorpusTest {
 protected:
  void SetUp() override {
    CorpusTest::SetUp();
    set_quiet(true);
    source_.from = "file:" + (kDemo / "shards/*.jsonl.zst").string();
    source_.max_shards = 2;
    data_root_ = folder_ / "data";
  }
  void TearDown() override {
    set_quiet(false);
    CorpusTest::TearDown();
  }
  // Name and bytes of every file below the data root.
  std::map<std::string, std::string> files() const {
    std::map<std::string, std::string> all;
    for (const auto& entry : fs::recursive_directory_iterator(data_root_))
      if (entry.is_regular_file())
        all[fs::relative(entry.path(), data_root_)] = read_file(entry.path());
    return all;
  }
  SourceConfig source_;
  fs::path data_root_;
};

TEST_F(Stages, download_fetches_every_shard_once) {
  const DownloadResult first = download(source_, data_root_);
  ASSERT_EQ(first.shards.size(), 2u);
  EXPECT_EQ(first.fetched, 2u);
  EXPECT_EQ(first.shards[1].name, "enwiki_namespace_0_1.jsonl.zst");
  EXPECT_EQ(read_file(first.folder / first.shards[0].name),
            read_file(kDemo / "shards" / first.shards[0].name));
  EXPECT_EQ(first.shards[0].sha256, sha256_of_file(kDemo / "shards" / first.shards[0].name));
  const auto before = files();
  EXPECT_EQ(download(source_, data_root_, Verify::sha256).fetched, 0u);
  EXPECT_EQ(files(), before);
}

TEST_F(Stages, download_repairs_a_shard_that_was_cut_or_changed) {
  const DownloadResult first = download(source_, data_root_);
  const auto before = files();
  fs::resize_file(first.folder / first.shards[0].name, 100);
  EXPECT_THROW((void)fetched_shard(first.folder, first.shards[0].name), DataError);
  EXPECT_EQ(download(source_, data_root_).fetched, 1u);
  EXPECT_EQ(files(), before);

  std::string bytes = read_file(first.folder / first.shards[1].name);
  bytes[1000] ^= 1;
  write_file(first.folder / first.shards[1].name, bytes);
  EXPECT_EQ(download(source_, data_root_, Verify::sha256).fetched, 1u);
  EXPECT_EQ(files(), before);
}

TEST_F(Stages, download_adopts_a_shard_whose_record_was_not_written) {
  const DownloadResult first = download(source_, data_root_);
  const auto before = files();
  fs::remove(first.folder / (first.shards[0].name + ".json"));
  EXPECT_EQ(download(source_, data_root_).fetched, 0u);
  EXPECT_EQ(files(), before);
}

TEST_F(Stages, tokenize_gives_tokens_that_tile_the_cleaned_text) {
  const auto tokenizer = load_tokenizer(kDemo / "model");
  const DownloadResult fetched = download(source_, data_root_);
  const TokenizePlan plan = plan_tokenize(source_, fetched, *tokenizer, data_root_);
  const auto shards = tokenize(plan, *tokenizer, true);
  ASSERT_EQ(shards.size(), 2u);
  EXPECT_FALSE(shards[0].existed);
  EXPECT_EQ(shards[0].path, plan.folder / "enwiki_namespace_0_0.h5");
  EXPECT_EQ(shards[0].counts.kept, shards[0].documents);

  const TokenShard shard(shards[0].path,
                         {{"tokenizer", tokenizer->digest()}, {"shard", fetched.shards[0].sha256}});
  ASSERT_EQ(shard.documents(), shards[0].documents);
  EXPECT_EQ(shard.tokens(), shards[0].tokens);
  EXPECT_EQ(shard.title(0), "Hua Mulan");
  EXPECT_EQ(shard.page_ids()[0], 55716u);
  EXPECT_EQ(shard.document_keys()[0], document_key("enwiki", 55716, ""));
  for (std::uint64_t d = 0; d < shard.documents(); ++d) {
    const DocumentTokens tokens = shard.document_tokens(d);
    const std::string text = shard.document_text(d);
    EXPECT_TRUE(text.starts_with(shard.title(d) + "\n"));
    EXPECT_EQ(tokenizer->decode(tokens.ids), text);
    EXPECT_EQ(tokens.begin.front(), 0u);
    EXPECT_EQ(tokens.end.back(), text.size());
  }
}

TEST_F(Stages, tokenize_gives_the_same_bytes_again_and_with_other_threads) {
  const auto tokenizer = load_tokenizer(kDemo / "model");
  const TokenizePlan plan =
      plan_tokenize(source_, download(source_, data_root_), *tokenizer, data_root_);
  tokenize(plan, *tokenizer, true);
  const auto before = files();
  for (const TokenizedShard& shard : tokenize(plan, *tokenizer, true)) EXPECT_TRUE(shard.existed);
  fs::remove_all(plan.folder);
  const int threads = thread_count();
  set_thread_count(threads == 1 ? 3 : 1);
  for (const TokenizedShard& shard : tokenize(plan, *tokenizer, true)) EXPECT_FALSE(shard.existed);
  set_thread_count(threads);
  EXPECT_EQ(files(), before);
}

TEST_F(Stages, tokens_of_other_cleaning_or_another_source_go_elsewhere) {
  const auto tokenizer = load_tokenizer(kDemo / "model");
  const auto digest = [&](const SourceConfig& source, bool keep_text = true) {
    return plan_tokenize(source, plan_download(source, data_root_), *tokenizer, data_root_,
                         keep_text)
        .digest;
  };
  const std::string plain = digest(source_);
  EXPECT_NE(digest(source_, false), plain);
  SourceConfig other = source_;
  other.max_shards = 1;  // takes less of the same data
  EXPECT_EQ(digest(other), plain);
  other.cleaning.min_chars = 7;
  EXPECT_NE(digest(other), plain);
  other = source_;
  other.from = "file:" + (kDemo / "shards/enwiki_namespace_0_3.jsonl.zst").string();
  EXPECT_NE(digest(other), plain);
}

TEST_F(Stages, a_damaged_shard_leaves_no_token_shard) {
  source_.from =
      "file:" + write("bad.jsonl", "{\"name\":\"A\",\"text\":\"x\"}\n{\"name\":").string();
  const auto tokenizer = load_tokenizer(kDemo / "model");
  const TokenizePlan plan =
      plan_tokenize(source_, download(source_, data_root_), *tokenizer, data_root_);
  try {
    (void)tokenize_shard(plan, 0, *tokenizer);
    FAIL() << "a damaged shard was tokenized";
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find("bad.jsonl line 2"), std::string::npos)
        << error.what();
  }
  EXPECT_FALSE(fs::exists(token_shard_path(plan, 0)));
}

TEST_F(Stages, tokenize_without_a_download_says_which_command_to_run) {
  const auto tokenizer = load_tokenizer(kDemo / "model");
  const TokenizePlan plan =
      plan_tokenize(source_, plan_download(source_, data_root_), *tokenizer, data_root_);
  try {
    (void)tokenize_shard(plan, 0, *tokenizer);
    FAIL();
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find("refract download"), std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace refract
