#include "refract/store/token_shard.hpp"

#include <gtest/gtest.h>

#include <tuple>

#include "unit/store/scratch_folder.hpp"

namespace refract {
namespace {

using test::data_error;
using test::expect_contains;
using test::ScratchFolder;

// One token per letter, so that spans and text check each other.
TokenShardData shard_of(std::size_t documents, std::uint32_t vocabulary) {
  TokenShardData data;
  data.shard = 3;
  data.vocabulary = vocabulary;
  for (std::size_t i = 0; i < documents; ++i) {
    const std::string text =
        "document " + std::to_string(i * i) + (i % 3 == 0 ? " \xC3\xA9t\xC3\xA9" : "");
    for (std::uint32_t letter = 0; letter < text.size(); ++letter) {
      data.ids.push_back(static_cast<unsigned char>(text[letter]) + vocabulary - 256);
      data.token_begin.push_back(letter);
      data.token_end.push_back(letter + 1);
    }
    data.document_token_starts.push_back(data.ids.size());
    data.document_key.push_back(7 * i);
    data.page_id.push_back(1000 + i);
    data.revision.push_back(i);
    data.title.push_back("Title " + std::to_string(i));
    data.url.push_back("https://example.org/" + std::to_string(i));
    data.links.push_back(i % 2 == 0 ? "" : "One\nTwo");
    data.text.push_back(text);
  }
  return data;
}

std::vector<std::uint32_t> ids_of(const TokenShard& shard) {
  std::vector<std::uint32_t> ids;
  shard.append_ids(0, shard.tokens(), ids);
  return ids;
}

TEST(TokenShard, gives_back_every_document) {
  const ScratchFolder folder;
  const TokenShardData data = shard_of(130, 50257);  // three text frames
  const std::string digest = write_token_shard(folder / "s.h5", data, {{"tokenizer", "t"}});

  const TokenShard shard(folder / "s.h5", {{"tokenizer", "t"}});

  EXPECT_EQ(shard.content_digest(), digest);
  EXPECT_EQ(shard.shard(), 3u);
  EXPECT_EQ(shard.tokens(), data.ids.size());
  ASSERT_EQ(shard.documents(), 130u);
  EXPECT_EQ(ids_of(shard), data.ids);
  EXPECT_EQ(shard.document_token_starts(), data.document_token_starts);
  EXPECT_EQ(shard.document_keys(), data.document_key);
  EXPECT_EQ(shard.revisions(), data.revision);
  for (const std::size_t document : {129u, 0u, 63u, 64u, 65u, 128u, 1u}) {
    EXPECT_EQ(shard.document_text(document), data.text[document]);
    EXPECT_EQ(shard.document_key(document), data.document_key[document]);
    EXPECT_EQ(shard.page_id(document), data.page_id[document]);
    EXPECT_EQ(shard.title(document), data.title[document]);
    EXPECT_EQ(shard.url(document), data.url[document]);
    EXPECT_EQ(shard.links(document), data.links[document]);
    const DocumentTokens tokens = shard.document_tokens(document);
    ASSERT_EQ(tokens.ids.size(), data.text[document].size());
    EXPECT_EQ(tokens.ids[0], data.text[document][0] + 50257u - 256u);
    EXPECT_EQ(tokens.end.back(), data.text[document].size());
  }
  EXPECT_NO_THROW(shard.verify_content());
}

TEST(TokenShard, keeps_ids_of_a_large_vocabulary) {
  const ScratchFolder folder;
  const TokenShardData data = shard_of(2, 262144);

  write_token_shard(folder / "s.h5", data, {});

  EXPECT_EQ(ids_of(TokenShard(folder / "s.h5")), data.ids);
}

TEST(TokenShard, has_the_same_bytes_when_written_twice) {
  const ScratchFolder folder;
  const TokenShardData data = shard_of(70, 50257);

  write_token_shard(folder / "a.h5", data, {{"tokenizer", "t"}});
  write_token_shard(folder / "b.h5", data, {{"tokenizer", "t"}});

  EXPECT_EQ(read_file(folder / "a.h5"), read_file(folder / "b.h5"));
}

TEST(TokenShard, says_so_when_it_was_written_without_text) {
  const ScratchFolder folder;
  TokenShardData data = shard_of(3, 50257);
  data.keep_text = false;
  write_token_shard(folder / "s.h5", data, {});

  const TokenShard shard(folder / "s.h5");

  EXPECT_FALSE(shard.has_text());
  expect_contains(data_error([&] { (void)shard.document_text(0); }), "tokens.keep_text");
}

TEST(TokenShard, may_be_empty) {
  const ScratchFolder folder;

  write_token_shard(folder / "s.h5", shard_of(0, 50257), {});

  const TokenShard shard(folder / "s.h5");
  EXPECT_EQ(shard.documents(), 0u);
  EXPECT_TRUE(ids_of(shard).empty());
}

TEST(TokenShard, is_never_verified_with_a_flipped_byte) {
  const ScratchFolder folder;
  write_token_shard(folder / "s.h5", shard_of(4, 50257), {{"tokenizer", "t"}});

  const std::string missed = test::flips_not_found(folder / "s.h5", 3, [&] {
    const TokenShard shard(folder / "s.h5");
    shard.verify_content();
    return std::tuple(ids_of(shard), shard.document_tokens(3).end, shard.page_id(2), shard.title(1),
                      shard.links(1), shard.document_text(2), shard.shard());
  });

  EXPECT_EQ(missed, "");
}

TEST(TokenShard, ticks_while_it_is_verified) {
  const ScratchFolder folder;
  write_token_shard(folder / "s.h5", shard_of(4, 50257), {});
  int ticks = 0;

  TokenShard(folder / "s.h5").verify_content([&] { ++ticks; });

  EXPECT_GT(ticks, 10) << "at least once for each dataset";
}

TEST(TokenShard, refuses_another_tokenizer) {
  const ScratchFolder folder;
  write_token_shard(folder / "s.h5", shard_of(1, 50257), {{"tokenizer", "t"}});

  expect_contains(data_error([&] {
                    TokenShard(folder / "s.h5", {{"tokenizer", "other"}});
                  }),
                  "parent tokenizer is t");
}

}  // namespace
}  // namespace refract
