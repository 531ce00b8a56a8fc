// Files: containers, damage, sources, fetching.
#include <string>

#include "refract/base/digest.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/parallel.hpp"
#include "refract/corpus/fetch.hpp"
#include "refract/corpus/source.hpp"
#include "unit/corpus/compress.hpp"
#include "unit/corpus/corpus_fixture.hpp"

namespace refract {
namespace {

using Shards = CorpusTest;

std::vector<std::string> lines_of(const fs::path& file) {
  std::vector<std::string> lines;
  for_each_line(file, [&lines](std::string_view line, std::uint64_t number) {
    EXPECT_EQ(number, lines.size() + 1);
    lines.emplace_back(line);
  });
  return lines;
}

std::string message_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

// Incompressible enough that half of the file is not all of it.
std::string many_lines(int count) {
  std::string lines;
  for (int i = 0; i < count; ++i)
    lines += R"({"name":"T)" + std::to_string(i) + R"(","identifier":)" + std::to_string(i + 1) +
             R"(,"text":")" + sha256_hex(std::to_string(i)) + "\"}\n";
  return lines;
}

TEST_F(Shards, are_read_line_by_line_from_every_container) {
  std::vector<std::string> expected;
  for (int i = 0; i < 30000; ++i) expected.push_back("line " + sha256_hex(std::to_string(i % 977)));
  std::string bytes;
  for (const auto& line : expected) bytes += line + "\n";

  EXPECT_EQ(lines_of(write("s.jsonl", bytes)), expected);
  for (const auto& [extension, pack] : test::containers())
    EXPECT_EQ(lines_of(write(std::string("s.jsonl") + extension, pack(bytes))), expected)
        << extension;
}

TEST_F(Shards, of_several_members_are_read_whole) {
  const std::string zeros(1000, '\0');
  for (const auto& [extension, pack] : test::containers()) {
    const std::string name = std::string("s.jsonl") + extension;
    const std::string a = pack("one\ntw"), b = pack("o\nthree\n"), none = pack("");
    const std::vector<std::string> expected = {"one", "two", "three"};

    EXPECT_EQ(lines_of(write(name, a + b)), expected) << extension;
    EXPECT_EQ(lines_of(write(name, none + a + none + b)), expected) << extension;
    EXPECT_EQ(lines_of(write(name, a + b + zeros)), expected) << extension;
    EXPECT_EQ(lines_of(write(name, a + zeros + b)), expected) << extension;
  }
  const std::string skippable("\x50\x2A\x4D\x18\x03\x00\x00\x00xyz", 11);
  EXPECT_EQ(lines_of(write("s.jsonl.zst", skippable + test::zstd("one\n") + skippable)),
            std::vector<std::string>{"one"});
}

TEST_F(Shards, cut_or_damaged_anywhere_are_an_error_that_names_file_and_line) {
  std::uint64_t tried = 0;
  for (const auto& [extension, pack] : test::containers()) {
    const std::string name = std::string("s.jsonl") + extension;
    const std::string first = pack(many_lines(40)), second = pack(many_lines(40));
    const auto expect_refused = [&](const std::string& bytes, const std::string& what) {
      const fs::path file = write(name, bytes);
      std::vector<Document> documents;
      const std::string message =
          message_of([&] { read_documents(file, keep_short(), documents); });
      EXPECT_NE(message.find(name), std::string::npos) << what << ": " << message;
      EXPECT_NE(message.find(" line "), std::string::npos) << what << ": " << message;
      EXPECT_TRUE(documents.empty()) << what;
      ++tried;
    };
    for (std::size_t cut = 1; cut < second.size(); cut += cut < 24 ? 1 : 97)
      expect_refused(first + second.substr(0, cut), fmt::format("{} cut at {}", extension, cut));
    for (std::size_t cut = 0; cut < first.size(); cut += 97)
      expect_refused(first.substr(0, cut), fmt::format("{} cut at {}", extension, cut));
    for (const char* more : {"x", "{\"text\":\"plain\"}\n", "\x1F", "\xFF\xFF\xFF\xFF\xFF\xFF\xFF"})
      expect_refused(first + more, fmt::format("{} and then {}", extension, more));
    // The last bytes are the checksums (of bzip2 the last bits are padding).
    for (const std::size_t from_end : {std::size_t{3}, std::size_t{6}, second.size() / 2}) {
      std::string bytes = second;
      bytes[bytes.size() - from_end] = static_cast<char>(bytes[bytes.size() - from_end] ^ 0x10);
      expect_refused(first + bytes,
                     fmt::format("{} changed {} before its end", extension, from_end));
    }
  }
  EXPECT_GT(tried, 100u);
}

TEST_F(Shards, of_gzip_are_refused_when_their_checksum_or_length_is_wrong) {
  std::string stored = test::gzip("{\"text\":\"Paris is the capital of France.\"}\n", 0);
  stored[stored.find("capital")] = 'x';
  EXPECT_NE(message_of([&] { (void)lines_of(write("s.jsonl.gz", stored)); }).find("data check"),
            std::string::npos);

  std::string length = test::gzip("one line\n");
  length[length.size() - 4] = static_cast<char>(length[length.size() - 4] ^ 1);
  EXPECT_NE(message_of([&] { (void)lines_of(write("s.jsonl.gz", length)); }).find("length check"),
            std::string::npos);
}

TEST_F(Shards, may_begin_with_a_byte_order_mark_but_not_be_utf16) {
  const std::string mark = "\xEF\xBB\xBF";
  EXPECT_EQ(lines_of(write("a.jsonl", mark + "one\n" + mark + "two\n")),
            (std::vector<std::string>{"one", "two"}));
  EXPECT_EQ(lines_of(write("a.jsonl.gz", test::gzip(mark + "one\n"))),
            std::vector<std::string>{"one"});
  for (const char* utf16 : {"\xFF\xFE{", "\xFE\xFF{"})
    EXPECT_NE(message_of([&] { (void)lines_of(write("b.jsonl", utf16)); }).find("UTF-16"),
              std::string::npos);
}

TEST_F(Shards, need_no_newline_at_their_end_and_may_be_empty) {
  EXPECT_EQ(lines_of(write("a.jsonl", "one\r\n\ntwo")),
            (std::vector<std::string>{"one", "", "two"}));
  EXPECT_TRUE(lines_of(write("b.jsonl", "")).empty());
}

TEST_F(Shards, that_do_not_begin_as_their_name_says_are_not_taken_for_plain_text) {
  for (const auto& [extension, pack] : test::containers()) {
    std::string bytes = pack(many_lines(100));
    bytes[0] = 'X';
    for (const std::string& wrong : {bytes, std::string(), many_lines(2)})
      EXPECT_NE(message_of([&] {
                  (void)lines_of(write(std::string("s.jsonl") + extension, wrong));
                }).find(std::string("does not begin as a ") + extension),
                std::string::npos);
  }
}

TEST_F(Shards, a_line_that_is_not_json_is_an_error_that_names_its_number) {
  const fs::path file = write("s.jsonl", many_lines(3) + "\n{\"name\": \"cut\n");
  std::vector<Document> documents;
  const std::string message = message_of([&] { read_documents(file, keep_short(), documents); });
  EXPECT_NE(message.find("s.jsonl line 5"), std::string::npos) << message;
}

TEST_F(Shards, an_absent_file_is_an_error_that_names_it) {
  EXPECT_NE(message_of([&] { (void)lines_of(folder_ / "nothing.jsonl"); }).find("nothing.jsonl"),
            std::string::npos);
}

TEST_F(Shards, give_the_same_documents_for_any_number_of_threads) {
  const fs::path file = write("s.jsonl", many_lines(500));
  const int threads = thread_count();
  std::vector<Document> one, many;
  set_thread_count(1);
  read_documents(file, keep_short(), one);
  set_thread_count(4);
  read_documents(file, keep_short(), many);
  set_thread_count(threads);
  ASSERT_EQ(one.size(), 500u);
  ASSERT_EQ(many.size(), one.size());
  for (std::size_t i = 0; i < one.size(); ++i) EXPECT_EQ(many[i].text, one[i].text);
}

TEST(ShardNames, sort_by_their_numbers) {
  EXPECT_TRUE(shard_name_less("enwiki_namespace_0_2.jsonl", "enwiki_namespace_0_10.jsonl"));
  EXPECT_FALSE(shard_name_less("enwiki_namespace_0_10.jsonl", "enwiki_namespace_0_2.jsonl"));
  EXPECT_TRUE(shard_name_less("a_00009", "a_00010"));
  EXPECT_TRUE(shard_name_less("a_9", "a_010"));
  EXPECT_TRUE(shard_name_less("a", "b"));
  EXPECT_TRUE(shard_name_less("a", "a1"));
  EXPECT_FALSE(shard_name_less("a1", "a1"));
  EXPECT_NE(shard_name_less("a01", "a1"), shard_name_less("a1", "a01"));
}

TEST_F(Shards, of_a_file_source_are_listed_in_order_with_size_and_place) {
  for (const char* name : {"s_10.jsonl", "s_9.jsonl", "s_1.jsonl", "other.txt"})
    (void)write(name, name);
  SourceConfig config;
  config.from = "file:" + (folder_ / "s_*.jsonl").string();
  const auto shards = list_shards(config);
  ASSERT_EQ(shards.size(), 3u);
  EXPECT_EQ(shards[0].name, "s_1.jsonl");
  EXPECT_EQ(shards[1].name, "s_9.jsonl");
  EXPECT_EQ(shards[2].name, "s_10.jsonl");
  EXPECT_EQ(shards[0].bytes, 9u);
  EXPECT_EQ(shards[0].local, folder_ / "s_1.jsonl");
  EXPECT_EQ(shards[0].hash, "") << "nothing is published of a local file, and none is read here";
  config.from = "file:" + folder_.string();
  EXPECT_EQ(list_shards(config).size(), 3u);
}

TEST_F(Shards, that_would_share_a_file_are_refused_with_both_names) {
  const auto refusal = [&](const std::vector<std::string>& names) {
    const fs::path place = folder_ / names[0];
    for (const std::string& name : names) {
      fs::create_directories(place);
      std::ofstream(place / name) << "{}";
    }
    SourceConfig config;
    config.from = "file:" + (place / "*").string();
    return message_of([&] { (void)list_shards(config); });
  };
  for (const auto& [names, file] : std::vector<std::pair<std::vector<std::string>, std::string>>{
           {{"a.jsonl", "a.jsonl.gz"}, "tokens/a.h5"},
           {{"a.ndjson", "a.json"}, "tokens/a.h5"},
           {{"b", "b.json"}, "tokens/b.h5"},
           {{"c.jsonl", "c.jsonl.json"}, "shards/c.jsonl.json"},
           {{"d.jsonl", "d.jsonl.part"}, "shards/d.jsonl.part"},
           {{"index.json"}, "shards/index.json"}}) {
    const std::string message = refusal(names);
    for (const std::string& name : names)
      EXPECT_NE(message.find(name), std::string::npos) << message;
    EXPECT_NE(message.find(file), std::string::npos) << message;
  }
  EXPECT_EQ(refusal({"e.jsonl", "e1.jsonl", "e.jsonl1"}), "");
}

TEST_F(Shards, whose_names_are_not_utf8_are_refused) {
  (void)write("caf\xE9.jsonl", "{}");
  SourceConfig config;
  config.from = "file:" + folder_.string();

  EXPECT_NE(message_of([&] { (void)list_shards(config); }).find("caf\uFFFD.jsonl"),
            std::string::npos);
}

TEST_F(Shards, a_pattern_that_matches_nothing_is_an_error_of_the_configuration) {
  SourceConfig config;
  config.from = "file:" + (folder_ / "*.jsonl").string();
  EXPECT_THROW((void)make_source(config)->list_shards(), ConfigError);
}

TEST(Sources, of_an_unknown_kind_are_refused_with_the_known_ones) {
  for (const char* from : {"ftp:somewhere", "shards/*.jsonl", ""}) {
    SourceConfig config;
    config.from = from;
    EXPECT_NE(message_of([&] { (void)make_source(config); }).find("file:"), std::string::npos)
        << from;
  }
}

class Fetching : public Shards {
 protected:
  ShardRef shard(const std::string& name, const std::string& bytes) {
    return {name,         "file://" + write(name, bytes).string(),
            bytes.size(), sha256_hex(bytes),
            "sha256",     {}};
  }
};

TEST_F(Fetching, gives_the_file_its_name_when_it_is_whole) {
  const std::string bytes = many_lines(3000);
  const FetchedFile fetched = fetch(shard("a.jsonl", bytes), folder_ / "to/a.jsonl");
  EXPECT_EQ(read_file(folder_ / "to/a.jsonl"), bytes);
  EXPECT_EQ(fetched.bytes, bytes.size());
  EXPECT_EQ(fetched.sha256, sha256_hex(bytes));
  EXPECT_FALSE(fs::exists(part_name(folder_ / "to/a.jsonl")));
}

TEST_F(Fetching, goes_on_where_an_earlier_attempt_ended) {
  const std::string bytes = many_lines(2000);
  const ShardRef from = shard("a.jsonl", bytes);
  const fs::path target = folder_ / "b.jsonl";
  std::ofstream(part_name(target)) << bytes.substr(0, 1000);
  std::uint64_t received = 0;
  FetchOptions options;
  options.advanced = [&received](std::uint64_t more) { received += more; };
  fetch(from, target, options);
  EXPECT_EQ(read_file(target), bytes);
  EXPECT_EQ(received, bytes.size() - 1000);
}

TEST_F(Fetching, refuses_and_removes_what_is_not_what_was_promised) {
  const std::string bytes = many_lines(100);
  const fs::path target = folder_ / "b.jsonl";
  ShardRef from = shard("a.jsonl", bytes);
  std::ofstream(part_name(target)) << std::string(1000, 'x');  // the head of another file
  EXPECT_THROW(fetch(from, target), DataError);
  EXPECT_FALSE(fs::exists(target));
  EXPECT_FALSE(fs::exists(part_name(target)));
  fetch(from, target);  // and the next time it works
  EXPECT_EQ(read_file(target), bytes);

  from.hash.clear();
  from.bytes += 1;
  FetchOptions once;
  once.attempts = 1;
  EXPECT_THROW(fetch(from, folder_ / "c.jsonl", once), DataError);
  EXPECT_FALSE(fs::exists(folder_ / "c.jsonl"));
}

TEST_F(Fetching, ends_with_what_the_caller_throws_and_keeps_what_arrived) {
  const std::string bytes = many_lines(3000);
  const ShardRef from = shard("a.jsonl", bytes);
  FetchOptions options;
  options.advanced = [](std::uint64_t more) {
    if (more > 0) throw StopRequested("stop");
  };
  EXPECT_THROW(fetch(from, folder_ / "b.jsonl", options), StopRequested);
  EXPECT_GT(fs::file_size(part_name(folder_ / "b.jsonl")), 0u);

  options.advanced = nullptr;
  options.before_rename = [] { throw SystemError("not ours"); };
  EXPECT_THROW(fetch(from, folder_ / "b.jsonl", options), SystemError);
  EXPECT_FALSE(fs::exists(folder_ / "b.jsonl"));

  options.before_rename = nullptr;
  fetch(from, folder_ / "b.jsonl", options);
  EXPECT_EQ(read_file(folder_ / "b.jsonl"), bytes);
}

TEST_F(Fetching, an_absent_file_ends_at_once_with_its_url) {
  const ShardRef from{"x", "file://" + (folder_ / "absent").string(), 0, "", "", {}};
  const std::string message = message_of([&] { fetch(from, folder_ / "x"); });
  EXPECT_NE(message.find(from.url), std::string::npos) << message;
  EXPECT_FALSE(fs::exists(folder_ / "x"));
}

}  // namespace
}  // namespace refract
