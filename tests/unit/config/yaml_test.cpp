#include <gtest/gtest.h>

#include "refract/base/error.hpp"
#include "refract/config/fields.hpp"

namespace refract {
namespace {

struct Inner {
  std::int64_t k = 4;
  std::string name = "a";
};
struct Settings {
  double lr = 0.5;
  bool on = false;
  std::uint32_t rows = 8;
  Bytes quota{1024};
  std::vector<std::string> hooks;
  std::string take = "all";
  Inner inner;
  std::vector<Inner> saes;
};
void describe(Fields& f, Inner& c) {
  f.field("k", c.k, {.help = "active features", .at_least = 1});
  f.field("name", c.name, {.help = "a name", .allowed = {"a", "b"}});
}
void describe(Fields& f, Settings& c) {
  f.field("lr", c.lr, {.help = "rate", .at_least = 0});
  f.field("on", c.on, {.help = "switch"});
  f.field("rows", c.rows, {.help = "rows", .unit = "rows", .at_most = 100});
  f.field("quota", c.quota, {.help = "bytes"});
  f.field("hooks", c.hooks, {.help = "names"});
  f.field("take", c.take, {.help = "rule"});
  f.nested("inner", "a section", c.inner);
  f.list(
      "saes", "a list", c.saes.size(), [&](std::size_t n) { c.saes.assign(n, {}); },
      [&](Fields& inner, std::size_t i) { describe(inner, c.saes[i]); });
}

Settings read(const std::string& text, const std::vector<std::string>& overrides = {}) {
  Settings settings;
  read_yaml_text(text, "x.yaml", overrides, [&](Fields& f) { describe(f, settings); });
  return settings;
}

std::string failure(const std::string& text, const std::vector<std::string>& overrides = {}) {
  try {
    (void)read(text, overrides);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

TEST(Yaml, reads_every_kind_of_value) {
  const Settings s = read(
      "lr: 1e-3\non: true\nrows: 1_6\nquota: 2GiB\nhooks: [a, b]\ntake: {nth_last: 3}\n"
      "inner: {k: 7}\nsaes:\n  - {k: 1}\n  - {name: b}\n");

  EXPECT_DOUBLE_EQ(s.lr, 1e-3);
  EXPECT_TRUE(s.on);
  EXPECT_EQ(s.rows, 16u);
  EXPECT_EQ(s.quota.value, std::uint64_t{2} << 30);
  EXPECT_EQ(s.hooks, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(s.take, "nth_last: 3");
  EXPECT_EQ(s.inner.k, 7);
  ASSERT_EQ(s.saes.size(), 2u);
  EXPECT_EQ(s.saes[1].name, "b");
}

TEST(Yaml, names_file_line_and_allowed_keys_of_an_unknown_key) {
  const std::string text = failure("lr: 1\ninner:\n  q: 3\n");

  EXPECT_NE(text.find("x.yaml:3"), std::string::npos) << text;
  EXPECT_NE(text.find("'q'"), std::string::npos) << text;
  EXPECT_NE(text.find("k, name"), std::string::npos) << text;
}

TEST(Yaml, refuses_wrong_types_and_values_out_of_range) {
  for (const char* text : {"lr: fast\n", "on: yes please\n", "rows: 1.5\n", "rows: -1\n",
                           "rows: 101\n", "quota: big\n", "hooks: a\n", "inner: 3\n",
                           "inner: {name: c}\n", "saes: {k: 1}\n", "inner: {k: 0}\n", "- a\n"})
    EXPECT_NE(failure(text), "no error") << text;
}

TEST(Yaml, says_where_an_override_came_from) {
  EXPECT_NE(failure("lr: 1\n", {"inner.k=zero"}).find("--set inner.k"), std::string::npos);
  EXPECT_NE(failure("lr: 1\n", {"nothing=1"}).find("'nothing'"), std::string::npos);
  EXPECT_NE(failure("saes: [{k: 1}]\n", {"saes.1.k=2"}), "no error");
}

TEST(Yaml, applies_overrides_to_one_or_all_entries_of_a_list) {
  const std::string text = "saes: [{k: 1}, {k: 2}]\n";

  EXPECT_EQ(read(text, {"saes.1.k=9"}).saes[1].k, 9);
  EXPECT_EQ(read(text, {"saes.*.k=9"}).saes[0].k, 9);
  EXPECT_EQ(read(text, {"inner.k=9"}).inner.k, 9);
}

TEST(Yaml, prints_what_it_reads_back_to_the_same_values) {
  Settings s = read(
      "lr: 0.25\ntake: {nth_last: 3}\nhooks: [blocks.1.hook_resid_post]\nsaes: [{k: 3, name: "
      "b}]\n");

  const std::string printed = print_yaml([&](Fields& f) { describe(f, s); });
  Settings again = read(printed);

  EXPECT_EQ(printed, print_yaml([&](Fields& f) { describe(f, again); }));
  EXPECT_EQ(again.take, "nth_last: 3");
  EXPECT_EQ(flatten([&](Fields& f) { describe(f, s); }),
            flatten([&](Fields& f) { describe(f, again); }));
}

}  // namespace
}  // namespace refract
