// The stages download and tokenize on the shards that ship with the demo.
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <map>

#include "refract/base/digest.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/parallel.hpp"
#include "refract/base/progress.hpp"
#include "refract/stages/download.hpp"
#include "refract/stages/tokenize.hpp"
#include "refract/store/claim.hpp"
#include "refract/store/table_file.hpp"
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
  // Name and bytes of every file below the data root but the log of digests.
  std::map<std::string, std::string> files() const {
    std::map<std::string, std::string> all;
    for (const auto& entry : fs::recursive_directory_iterator(data_root_))
      if (entry.is_regular_file() && entry.path().filename() != "digests.jsonl")
        all[fs::relative(entry.path(), data_root_)] = read_file(entry.path());
    return all;
  }
  // After a download.
  TokenizePlan fetched_plan(const Tokenizer& tokenizer) const {
    (void)download(source_, data_root_);
    return plan_tokenize(source_, plan_download(source_, data_root_), tokenizer, data_root_);
  }
  static std::vector<TokenizedShard> tokenize_all(const TokenizePlan& plan,
                                                  const Tokenizer& tokenizer) {
    std::vector<TokenizedShard> shards;
    for (std::size_t i = 0; i < plan.shards.size(); ++i)
      shards.push_back(tokenize_shard(plan, i, tokenizer));
    return shards;
  }
  // As an editor would: the times tell it, and nothing else does.
  void change_in_place(const fs::path& file, std::size_t byte) {
    std::fstream(file, std::ios::in | std::ios::out | std::ios::binary)
        .seekp(static_cast<std::streamoff>(byte))
        .put('\x5A');
    fs::last_write_time(file, fs::last_write_time(file) - std::chrono::hours(++changes_));
  }
  SourceConfig source_;
  fs::path data_root_;
  int changes_ = 0;
};

std::string damage_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Damaged& error) {
    return error.what();
  }
  return "";
}

TEST_F(Stages, download_fetches_every_shard_once) {
  const DownloadResult first = download(source_, data_root_);
  ASSERT_EQ(first.shards.size(), 2u);
  EXPECT_EQ(first.fetched, 2u);
  EXPECT_EQ(first.shards[1].name, "enwiki_namespace_0_1.jsonl.zst");
  EXPECT_EQ(read_file(first.folder / first.shards[0].name),
            read_file(kDemo / "shards" / first.shards[0].name));
  EXPECT_EQ(first.shards[0].sha256, sha256_of_file(kDemo / "shards" / first.shards[0].name));
  const auto before = files();
  EXPECT_EQ(download(source_, data_root_, Verify::again).fetched, 0u);
  EXPECT_EQ(files(), before);
}

TEST_F(Stages, the_corpus_is_its_content_and_not_its_place) {
  const auto copy_to = [&](const std::string& place) {
    fs::create_directories(folder_ / place);
    for (const char* name : {"enwiki_namespace_0_0.jsonl.zst", "enwiki_namespace_0_1.jsonl.zst"})
      fs::copy_file(kDemo / "shards" / name, folder_ / place / name);
    SourceConfig source;
    source.from = "file:" + (folder_ / place / "*.zst").string();
    return source;
  };
  const SourceConfig here = copy_to("here"), there = copy_to("there");
  const std::string digest = plan_download(here, data_root_).digest;
  EXPECT_EQ(plan_download(there, data_root_).digest, digest);

  change_in_place(folder_ / "there/enwiki_namespace_0_1.jsonl.zst", 1000);

  EXPECT_NE(plan_download(there, data_root_).digest, digest);
  EXPECT_EQ(plan_download(here, data_root_).digest, digest);
}

TEST_F(Stages, a_plan_is_the_same_after_its_way_to_other_ranks) {
  const DownloadPlan plan = plan_download(source_, data_root_);

  const DownloadPlan there = download_plan_from_text(to_text(plan));

  EXPECT_EQ(there.digest, plan.digest);
  EXPECT_EQ(there.folder, plan.folder);
  EXPECT_EQ(there.data_root, plan.data_root);
  ASSERT_EQ(there.shards.size(), plan.shards.size());
  EXPECT_EQ(there.shards[1].name, plan.shards[1].name);
  EXPECT_EQ(there.shards[1].url, plan.shards[1].url);
  EXPECT_EQ(there.shards[1].bytes, plan.shards[1].bytes);
  EXPECT_EQ(there.shards[1].hash, plan.shards[1].hash);
  EXPECT_EQ(there.shards[1].local, plan.shards[1].local);
}

TEST_F(Stages, download_repairs_a_shard_that_was_cut_or_changed) {
  const DownloadResult first = download(source_, data_root_);
  const auto before = files();
  fs::resize_file(first.folder / first.shards[0].name, 100);
  EXPECT_THROW((void)fetched_shard(first.folder, first.shards[0].name), DataError);
  EXPECT_EQ(download(source_, data_root_).fetched, 1u);
  EXPECT_EQ(files(), before);

  for (const Verify verify : {Verify::once, Verify::again}) {
    change_in_place(first.folder / first.shards[1].name, 1000);
    EXPECT_EQ(download(source_, data_root_, verify).fetched, 1u);
    EXPECT_EQ(files(), before);
  }
}

TEST_F(Stages, download_makes_a_damaged_record_again) {
  const DownloadResult first = download(source_, data_root_);
  const auto before = files();
  const fs::path record = first.folder / (first.shards[0].name + ".json");
  for (const char* text : {"", "{", "[]", "{\"name\":5,\"bytes\":\"x\",\"sha256\":[1]}",
                           "{\"bytes\":-1,\"sha256\":null}", "\xFF\xFF"}) {
    write_file(record, text);
    EXPECT_THROW((void)fetched_shard(first.folder, first.shards[0].name), DataError) << text;
    EXPECT_EQ(download(source_, data_root_).fetched, 0u) << text;
    EXPECT_EQ(files(), before) << text;
  }
}

TEST_F(Stages, two_jobs_on_one_fresh_data_root_both_end_well) {
  const auto tokenizer = load_tokenizer(kDemo / "model");
  std::vector<pid_t> jobs;
  for (int job = 0; job < 3; ++job) {
    const pid_t child = ::fork();
    if (child == 0) {
      int code = 0;
      try {
        set_thread_count(1);
        tokenize_all(fetched_plan(*tokenizer), *tokenizer);
      } catch (const std::exception& error) {
        fmt::print(stderr, "{}\n", error.what());
        code = 1;
      }
      ::_exit(code);
    }
    jobs.push_back(child);
  }
  for (const pid_t job : jobs) {
    int status = -1;
    ::waitpid(job, &status, 0);
    EXPECT_EQ(status, 0);
  }
  const auto made = files();
  for (const auto& [name, bytes] : made)
    EXPECT_TRUE(name.find(".part") == std::string::npos && name.find(".claim") == std::string::npos)
        << name;
  fs::remove_all(data_root_);
  tokenize_all(fetched_plan(*tokenizer), *tokenizer);
  EXPECT_EQ(files(), made);
}

TEST_F(Stages, tokenize_makes_a_damaged_token_shard_again) {
  const auto tokenizer = load_tokenizer(kDemo / "model");
  source_.max_shards = 1;
  const TokenizePlan plan = fetched_plan(*tokenizer);
  tokenize_all(plan, *tokenizer);
  const fs::path path = token_shard_path(plan, 0);
  const auto before = files();
  const std::string whole = read_file(path);
  std::string flipped = whole;
  flipped[flipped.size() / 2] = static_cast<char>(flipped[flipped.size() / 2] ^ 4);
  TableWriter(path, {"token-shard", kSchemaVersion - 1, "tokenize", {}, {}}).finish();
  const std::string other_schema = read_file(path);
  for (const std::string& damaged : {flipped, other_schema, whole.substr(0, whole.size() / 2),
                                     std::string("noise"), std::string()}) {
    write_file(path, damaged);

    const TokenizedShard again = tokenize_shard(plan, 0, *tokenizer);

    EXPECT_FALSE(again.existed);
    EXPECT_EQ(files(), before);
  }
}

TEST_F(Stages, tokenize_refuses_a_raw_shard_changed_since_it_was_fetched) {
  const auto tokenizer = load_tokenizer(kDemo / "model");
  const DownloadResult fetched = download(source_, data_root_);
  const TokenizePlan plan = fetched_plan(*tokenizer);
  const fs::path raw = fetched.folder / fetched.shards[0].name;
  change_in_place(raw, 1000);

  const std::string message = damage_of([&] { (void)tokenize_shard(plan, 0, *tokenizer); });

  EXPECT_NE(message.find(raw.string()), std::string::npos) << message;
  EXPECT_FALSE(fs::exists(token_shard_path(plan, 0)));
  // The advice: run the same command again.
  EXPECT_EQ(download(source_, data_root_).fetched, 1u);
  EXPECT_FALSE(tokenize_shard(plan, 0, *tokenizer).existed);
}

TEST_F(Stages, tokenize_ticks_from_the_first_byte_on) {
  const auto tokenizer = load_tokenizer(kDemo / "model");
  const TokenizePlan plan = fetched_plan(*tokenizer);
  const auto stop = [] { throw StopRequested("stop"); };

  EXPECT_THROW((void)tokenize_shard(plan, 0, *tokenizer, stop), StopRequested);

  EXPECT_FALSE(fs::exists(token_shard_path(plan, 0)));
  EXPECT_FALSE(fs::exists(claim_name(token_shard_path(plan, 0))));
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
  const TokenizePlan plan = fetched_plan(*tokenizer);
  const auto shards = tokenize_all(plan, *tokenizer);
  ASSERT_EQ(shards.size(), 2u);
  EXPECT_FALSE(shards[0].existed);
  EXPECT_EQ(shards[0].path, plan.folder / "enwiki_namespace_0_0.h5");
  EXPECT_EQ(shards[0].counts.kept, shards[0].documents);

  const TokenShard shard(shards[0].path,
                         {{"tokenizer", tokenizer->digest()}, {"shard", fetched.shards[0].sha256}});
  ASSERT_EQ(shard.documents(), shards[0].documents);
  EXPECT_EQ(shard.tokens(), shards[0].tokens);
  EXPECT_EQ(shard.title(0), "Hua Mulan");
  EXPECT_EQ(shard.page_id(0), 55716u);
  EXPECT_EQ(shard.document_key(0), document_key("enwiki", 55716, ""));
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
  const TokenizePlan plan = fetched_plan(*tokenizer);
  tokenize_all(plan, *tokenizer);
  const auto before = files();
  for (const TokenizedShard& shard : tokenize_all(plan, *tokenizer)) EXPECT_TRUE(shard.existed);
  fs::remove_all(plan.folder);
  const int threads = thread_count();
  set_thread_count(threads == 1 ? 3 : 1);
  for (const TokenizedShard& shard : tokenize_all(plan, *tokenizer)) EXPECT_FALSE(shard.existed);
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
  const TokenizePlan plan = fetched_plan(*tokenizer);
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
