#include "refract/order/contexts.hpp"

#include <gtest/gtest.h>

#include <numeric>
#include <set>

#include "refract/base/random.hpp"
#include "refract/order/row_rule.hpp"

namespace refract {
namespace {

struct Corpus {
  std::vector<std::uint64_t> starts{0};
  std::vector<std::uint32_t> ids;
  std::vector<std::uint8_t> keep, heldout;
  void add(std::uint32_t tokens, bool held = false, bool kept = true) {
    for (std::uint32_t i = 0; i < tokens; ++i)
      ids.push_back(static_cast<std::uint32_t>(100 * keep.size() + i));
    starts.push_back(ids.size());
    keep.push_back(kept ? 1 : 0);
    heldout.push_back(held ? 1 : 0);
  }
};

Corpus sample() {
  Corpus corpus;
  corpus.add(5);
  corpus.add(17);  // spans three contexts of 8
  corpus.add(3, true);
  corpus.add(4, false, false);  // a duplicate
  corpus.add(1);
  return corpus;
}

ContextTableData build(const Corpus& corpus, Packing packing, BosRule bos) {
  return build_contexts({.length = 8, .packing = packing, .bos = bos, .bos_id = 7}, corpus.starts,
                        corpus.keep, corpus.heldout);
}

// As TokenCorpus makes it from its files: the tokens of the context's segments, one after the
// other.
ContextInput input_of(const ContextTableData& table, std::size_t context, const Corpus& corpus,
                      std::span<const std::uint8_t> special = {}) {
  std::vector<std::uint32_t> tokens;
  for (const Segment& segment : table.of_context(context))
    for (std::uint32_t i = 0; i < segment.length - segment.bos; ++i)
      tokens.push_back(corpus.ids[corpus.starts[segment.document] + segment.token_offset + i]);
  return context_input(table.format, table.of_context(context), context_key(0, context), tokens,
                       special);
}

class EveryPacking : public testing::TestWithParam<std::pair<Packing, BosRule>> {};

// What row identity promises: document and position lead back to the token, for every rule.
TEST_P(EveryPacking, puts_each_token_in_one_slot_and_identity_leads_back_to_it) {
  const Corpus corpus = sample();
  const ContextTableData table = build(corpus, GetParam().first, GetParam().second);

  std::vector<int> seen(corpus.ids.size(), 0);
  for (std::size_t c = 0; c < table.contexts(); ++c) {
    const ContextInput input = input_of(table, c, corpus);
    for (std::size_t slot = 0; slot < 8; ++slot) {
      if (input.slots.document_position[slot] == kNoDocumentPosition) continue;
      const std::uint64_t document = input.slots.document[slot];
      const std::uint64_t token = corpus.starts[document] + input.slots.document_position[slot];
      EXPECT_EQ(input.slots.token[slot], corpus.ids[token]);
      EXPECT_EQ(input.ids[slot], corpus.ids[token]);
      EXPECT_EQ(corpus.heldout[document], table.heldout[c]);
      ++seen[token];
    }
  }

  for (std::size_t d = 0; d < corpus.keep.size(); ++d)
    for (std::uint64_t t = corpus.starts[d]; t < corpus.starts[d + 1]; ++t)
      EXPECT_EQ(seen[t], corpus.keep[d]) << t;
}

INSTANTIATE_TEST_SUITE_P(All, EveryPacking,
                         testing::Values(std::pair{Packing::packed, BosRule::document_start},
                                         std::pair{Packing::packed, BosRule::each_context},
                                         std::pair{Packing::packed, BosRule::none},
                                         std::pair{Packing::concat, BosRule::document_start},
                                         std::pair{Packing::concat, BosRule::each_context},
                                         std::pair{Packing::document, BosRule::document_start},
                                         std::pair{Packing::document, BosRule::none}));

TEST(Contexts, gives_a_bos_to_the_start_of_a_document_and_none_to_its_continuation) {
  const ContextTableData table = build(sample(), Packing::packed, BosRule::document_start);

  // BOS 5 BOS 1 | 8 | 8 | BOS 1 (the document's 17 tokens: 1 + 8 + 8), padding
  ASSERT_EQ(table.contexts(), 5u);
  EXPECT_EQ(table.of_context(1).front().bos, 0);
  EXPECT_EQ(table.of_context(1).front().token_offset, 1u);
  EXPECT_EQ(table.of_context(3).front().bos, 1);
}

TEST(Contexts, never_doubles_the_bos_of_each_context) {
  const ContextTableData table = build(sample(), Packing::packed, BosRule::each_context);

  for (std::size_t c = 0; c < table.contexts(); ++c) {
    const ContextInput input = input_of(table, c, sample());
    EXPECT_EQ(input.ids.front(), 7u);
    if (input.ids.size() > 1) {
      EXPECT_NE(input.slots.excluded[1], kExcludedBos);
    }
  }
}

TEST(Contexts, restarts_positions_in_packed_and_runs_on_in_concat) {
  const ContextInput packed =
      input_of(build(sample(), Packing::packed, BosRule::document_start), 0, sample(), {});
  const ContextInput concat =
      input_of(build(sample(), Packing::concat, BosRule::document_start), 0, sample(), {});

  EXPECT_EQ(packed.positions, (std::vector<std::uint32_t>{0, 1, 2, 3, 4, 5, 0, 1}));
  EXPECT_EQ(packed.segment_starts, (std::vector<std::uint32_t>{0, 6, 8}));
  EXPECT_EQ(concat.positions, (std::vector<std::uint32_t>{0, 1, 2, 3, 4, 5, 6, 7}));
  EXPECT_EQ(concat.segment_starts, (std::vector<std::uint32_t>{0, 8}));
}

TEST(Contexts, marks_padding_bos_and_special_tokens) {
  std::vector<std::uint8_t> special(200, 0);
  special[2] = 1;
  const ContextInput input =
      input_of(build(sample(), Packing::document, BosRule::document_start), 0, sample(), special);

  EXPECT_EQ(input.slots.excluded, (std::vector<std::uint8_t>{kExcludedBos, 0, 0, kExcludedSpecial,
                                                             0, 0, kExcludedPad, kExcludedPad}));
  EXPECT_EQ(input.slots.document[7], kNoDocument);
}

TEST(Contexts, keeps_the_highest_revision_in_a_shard_and_the_first_shard_across) {
  SeenDocuments seen;
  const std::vector<std::uint64_t> pages{4, 9, 4, 2, 1}, revisions{1, 5, 2, 0, 0}, later{9, 8},
      later_revisions{50, 1};

  EXPECT_EQ(keep_documents(pages, revisions, seen), (std::vector<std::uint8_t>{0, 1, 1, 1, 1}));
  seen.add(pages);
  EXPECT_EQ(keep_documents(later, later_revisions, seen), (std::vector<std::uint8_t>{0, 1}));
}

TEST(SeenDocuments, holds_each_key_once_whatever_the_sizes_of_the_shards) {
  SeenDocuments seen;
  std::set<std::uint64_t> expected;
  const CounterRng rng(Purpose::test, {5});
  std::uint64_t draw = 0;
  for (const std::size_t size : {3u, 100u, 0u, 1u, 1u, 1u, 50u, 700u, 2u}) {
    std::vector<std::uint64_t> keys;
    for (std::size_t i = 0; i < size; ++i) keys.push_back(rng.below(draw++, 2000));
    expected.insert(keys.begin(), keys.end());
    seen.add(std::move(keys));
  }

  for (std::uint64_t key = 0; key < 2000; ++key)
    EXPECT_EQ(seen.contains(key), expected.contains(key)) << key;
  EXPECT_GE(seen.size(), expected.size());
  EXPECT_LE(seen.size(), 858u);
}

}  // namespace
}  // namespace refract
