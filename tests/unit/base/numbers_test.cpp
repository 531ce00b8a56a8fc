#include "refract/base/numbers.hpp"

#include <gtest/gtest.h>

#include <limits>

namespace refract {
namespace {

TEST(Numbers, a_count_is_digits_alone_and_within_its_bound) {
  EXPECT_EQ(parse_count("0"), 0u);
  EXPECT_EQ(parse_count("18446744073709551615"), std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(parse_count("12", 12), 12u);
  EXPECT_FALSE(parse_count("13", 12));
  for (const char* text : {"", " 1", "1 ", "+1", "-1", "1e3", "0x1f", "1_000", "1.0",
                           "18446744073709551616", "99999999999999999999", "one"})
    EXPECT_FALSE(parse_count(text)) << text;
}

TEST(Numbers, a_whole_number_is_read_as_people_write_it) {
  EXPECT_EQ(parse_whole("131_072"), 131072);
  EXPECT_EQ(parse_whole("1e6"), 1'000'000);
  EXPECT_EQ(parse_whole("2.5e6"), 2'500'000);
  EXPECT_EQ(parse_whole("+7"), 7);
  EXPECT_EQ(parse_whole("-7"), -7);
  EXPECT_EQ(parse_whole("9223372036854775807"), std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(parse_whole("-9223372036854775808"), std::numeric_limits<std::int64_t>::min());
}

TEST(Numbers, a_whole_number_is_never_cut_or_rounded_to_fit) {
  for (const char* text : {"", "_", "1.5", "1e-1", "9223372036854775808", "99999999999999999999",
                           "1e19", "1e999", "inf", "nan", "+-5", "++5", "0x10", "5 rows", "five"})
    EXPECT_FALSE(parse_whole(text)) << text;
}

TEST(Numbers, a_real_number_is_finite_and_the_whole_text) {
  EXPECT_DOUBLE_EQ(parse_real("1e-3").value(), 1e-3);
  EXPECT_DOUBLE_EQ(parse_real("+0.5").value(), 0.5);
  for (const char* text : {"", "inf", "nan", "1e999", "1,5", "0x1p3", "1.0f", "+-1"})
    EXPECT_FALSE(parse_real(text)) << text;
}

TEST(Numbers, reads_spans_of_time_with_their_unit) {
  EXPECT_EQ(parse_duration_s("90s"), 90);
  EXPECT_EQ(parse_duration_s("45min"), 2700);
  EXPECT_EQ(parse_duration_s("45m"), 2700);
  EXPECT_EQ(parse_duration_s("3h"), 10800);
  EXPECT_EQ(parse_duration_s("1h30min"), 5400);
  EXPECT_EQ(parse_duration_s("2d"), 172800);
  EXPECT_EQ(parse_duration_s("04:00:00"), 14400);
  EXPECT_EQ(parse_duration_s("1-12:00:30"), 129630);
  for (const char* text : {"", "90", "h", "3 h", "-3h", "3x", "1:2", "0:99:00", "a-01:00:00",
                           "01:00:00h", "99999999999999999999h", "3h5"})
    EXPECT_FALSE(parse_duration_s(text)) << text;
}

}  // namespace
}  // namespace refract
