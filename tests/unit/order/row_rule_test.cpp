#include "refract/order/row_rule.hpp"

#include <gtest/gtest.h>

#include "refract/base/error.hpp"
#include "refract/order/contexts.hpp"

namespace refract {
namespace {

// Documents of 5 and 2 tokens in contexts of 10 slots: BOS 5 BOS 2, and one slot of padding.
ContextTableData table_of(Packing packing) {
  const std::vector<std::uint64_t> starts{0, 5, 7};
  const std::vector<std::uint8_t> keep{1, 1}, heldout{0, 0};
  return build_contexts(
      {.length = 10, .packing = packing, .bos = BosRule::document_start, .bos_id = 9}, starts, keep,
      heldout);
}

std::vector<std::uint32_t> slots(const std::string& rule, Packing packing) {
  const ContextTableData table = table_of(packing);
  return select_slots(parse_row_rule(rule), table.format, table.of_context(0), 0, 1);
}

TEST(RowRule, takes_every_slot_padding_included) {
  EXPECT_EQ(slots("all", Packing::packed).size(), 10u);
}

TEST(RowRule, applies_per_document_in_packed_and_per_context_in_concat) {
  EXPECT_EQ(slots("last", Packing::packed), (std::vector<std::uint32_t>{5, 8}));
  EXPECT_EQ(slots("last", Packing::concat), (std::vector<std::uint32_t>{8}));
  EXPECT_EQ(slots("nth_last: 3", Packing::packed), (std::vector<std::uint32_t>{3}));
  EXPECT_EQ(slots("middle", Packing::packed), (std::vector<std::uint32_t>{3, 8}));
}

TEST(RowRule, draws_distinct_real_tokens_and_the_same_ones_again) {
  const auto drawn = slots("random: 3", Packing::packed);

  EXPECT_EQ(drawn, slots("random: 3", Packing::packed));
  EXPECT_EQ(drawn.size(), 5u);  // three of the first document, both of the second
  for (const std::uint32_t slot : drawn) EXPECT_TRUE(slot != 0 && slot != 6 && slot != 9);
}

TEST(RowRule, refuses_what_it_does_not_know) {
  for (const char* text : {"first", "nth_last: 0", "random: x", "nth_last:3"})
    EXPECT_THROW((void)parse_row_rule(text), ConfigError) << text;
}

}  // namespace
}  // namespace refract
