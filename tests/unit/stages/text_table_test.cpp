#include "refract/stages/text_table.hpp"

#include <gtest/gtest.h>

namespace refract {
namespace {

const TextTable kTable{.title = "not printed",
                       .note = "",
                       .columns = {"a", "b"},
                       .rows = {{"1", "x|y"}, {"", "say \"no\", twice"}}};

TEST(TextTable, is_a_table_of_markdown_whatever_its_cells_hold) {
  EXPECT_EQ(to_markdown(kTable), "| a | b |\n|---|---|\n| 1 | x\\|y |\n|  | say \"no\", twice |\n");
}

TEST(TextTable, is_comma_separated_with_quotes_where_a_cell_needs_them) {
  EXPECT_EQ(to_csv(kTable), "a,b\n1,x|y\n,\"say \"\"no\"\", twice\"\n");
}

}  // namespace
}  // namespace refract
