#include <gtest/gtest.h>

#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
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
  std::string take = "all", kind = "a";
  std::vector<std::string> hook;
  std::uint32_t window = 1;
  std::int64_t free = 0;
  std::uint64_t seed = 1;
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
  f.field("kind", c.kind, {.help = "one", .not_built = {"z"}});
  f.field("hook", c.hook, {.help = "one or several", .one_or_list = true});
  f.field("window", c.window, {.help = "shards", .at_least = 1});
  f.field("free", c.free, {.help = "any whole number"});
  f.field("seed", c.seed, {.help = "any count"});
  f.not_built("mesh", "a later part");
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

TEST(Yaml, takes_defaults_where_neither_file_nor_override_says_more) {
  std::string a, b, c;
  const auto describe_them = [&](Fields& f) {
    f.field("a", a, {});
    f.section("s", "", [&](Fields& inner) {
      inner.field("b", b, {});
      inner.field("c", c, {});
    });
  };
  const Defaults defaults{.from = "a recipe", .values = {{"a", "1"}, {"s.b", "2"}, {"s.c", "3"}}};

  const Origins origins =
      read_yaml_text("a: file\ns:\n", "x.yaml", {"s.c=set"}, describe_them, defaults);

  EXPECT_EQ(a + " " + b + " " + c, "file 2 set");
  EXPECT_EQ(origins.of("a"), "x.yaml:1");
  EXPECT_EQ(origins.of("s.b"), "a recipe");
  EXPECT_EQ(origins.of("s.c"), "--set s.c");
}

TEST(Yaml, refuses_a_number_that_does_not_fit_and_names_key_and_bound) {
  const auto expect = [](const std::string& text, const std::string& key,
                         const std::string& bound) {
    const std::string said = failure(text);
    EXPECT_NE(said.find("x.yaml:1: " + key + " is "), std::string::npos) << said;
    EXPECT_NE(said.find(bound), std::string::npos) << said;
  };
  expect("rows: 4294967297\n", "rows", "from 0 to 100");
  expect("window: 4294967296\n", "window", "from 1 to 4294967295");
  expect("free: 9223372036854775808\n", "free", "of at most 9.2233720368547758e+18");
  expect("seed: 99999999999999999999\n", "seed", "at least 0, below 2^63");
  expect("seed: 1e30\n", "seed", "at least 0, below 2^63");
  expect("seed: -1\n", "seed", "at least 0, below 2^63");
  expect("quota: 8388608TiB\n", "quota", "below 8 EiB");
  expect("quota: 99999999999999999999\n", "quota", "below 8 EiB");
  expect("quota: -1\n", "quota", "a size");
  expect("quota: 0.5\n", "quota", "a size");
  expect("quota: 1 lot\n", "quota", "a size");
}

TEST(Yaml, reads_sizes_exactly) {
  EXPECT_EQ(read("quota: 9007199254740993\n").quota.value, 9007199254740993u);
  EXPECT_EQ(read("quota: 8388607TiB\n").quota.value, 8388607ull << 40);
  EXPECT_EQ(read("quota: 1.5 GiB\n").quota.value, 3ull << 29);
  EXPECT_EQ(read("quota: 2e3KB\n").quota.value, 2'000'000u);
}

TEST(Yaml, refuses_indices_that_are_no_entry) {
  for (const char* index : {"2", "99999999999999999999", "-1", "1e0", "", "x"})
    EXPECT_NE(failure("saes: [{k: 1}, {k: 2}]\n", {std::string("saes.") + index + ".k=1"})
                  .find("it has 0 to 1, or * for all"),
              std::string::npos)
        << index;
  EXPECT_NE(failure("saes: []\n", {"saes.0.k=1"}).find("it is empty"), std::string::npos);
}

TEST(Yaml, refuses_a_key_given_twice_and_names_both_places) {
  const std::string top = failure("lr: 1\non: true\nlr: 2\n"),
                    inner = failure("saes:\n  - {k: 1,\n     k: 2}\n");

  EXPECT_NE(top.find("x.yaml:3: 'lr' is given twice"), std::string::npos) << top;
  EXPECT_NE(top.find("first at x.yaml:1"), std::string::npos) << top;
  EXPECT_NE(inner.find("x.yaml:3: 'k' is given twice"), std::string::npos) << inner;
}

TEST(Yaml, copies_what_an_alias_names_and_refuses_merge_keys) {
  const std::string text = "inner: &one {k: 7}\nsaes: [*one, *one]\n";
  const Settings s = read(text, {"saes.1.k=9"});

  EXPECT_EQ(s.inner.k, 7);
  EXPECT_EQ(s.saes.at(0).k, 7) << "an override reached another alias";
  EXPECT_EQ(s.saes.at(1).k, 9);
  EXPECT_NE(failure("inner: &one {k: 7}\nsaes: [{<<: *one}]\n").find("merge keys"),
            std::string::npos);
  EXPECT_NE(failure("inner: &x {k: *x}\n").find("x.yaml:1"), std::string::npos);
}

TEST(Yaml, refuses_aliases_that_grow_without_end) {
  std::string text = "a: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 0; i < 9; ++i) {
    text += fmt::format("b{}: &a{} [", i, i + 1);
    for (int j = 0; j < 10; ++j) text += fmt::format("{}*a{}", j == 0 ? "" : ", ", i);
    text += "]\n";
  }
  EXPECT_NE(failure(text).find("values"), std::string::npos);
}

TEST(Yaml, refuses_what_is_more_or_less_than_one_document_of_keys) {
  EXPECT_NE(failure("lr: 1\n---\nlr: 2\n").find("x.yaml:3: a second YAML document"),
            std::string::npos);
  EXPECT_NE(failure("[a]: 1\n").find("a list stands where a key is expected"), std::string::npos);
  EXPECT_NE(failure("just words\n").find("'key: value' lines"), std::string::npos);
  EXPECT_NE(failure("lr: 1\n", {"take="}).find("no value is given"), std::string::npos);
  EXPECT_EQ(read("lr: 1\n", {"take=\"\""}).take, "");
}

TEST(Yaml, tells_what_is_not_built_from_what_is_unknown) {
  for (const char* text : {"mesh: {rows: 2}\n", "kind: z\n"})
    EXPECT_THROW((void)read(text), NotBuilt) << text;
  for (const char* text : {"mush: 1\n", "kind: {a: [b]}\n"})
    EXPECT_THROW((void)read(text), ConfigError) << text;
  Settings s;
  const std::string reference = print_reference([&](Fields& f) { describe(f, s); });
  EXPECT_NE(reference.find("mesh                         not built in this version"),
            std::string::npos)
      << reference;
}

TEST(Yaml, takes_and_prints_one_of_a_list_without_brackets_where_a_field_says_so) {
  const auto printed = [](Settings settings) {
    return flatten([&](Fields& f) { describe(f, settings); });
  };
  using Texts = std::vector<std::string>;

  EXPECT_EQ(read("hook: b\n").hook, Texts{"b"});
  EXPECT_EQ(read("hook: [b]\n").hook, Texts{"b"});
  EXPECT_EQ(read("hook: [b, a]\n").hook, (Texts{"b", "a"}));
  EXPECT_EQ(read("lr: 1\n", {"hook=[c, d]"}).hook, (Texts{"c", "d"}));
  for (const char* text : {"hook: []\n", "hook: {a: [b]}\n", "hook: [[b]]\n"})
    EXPECT_NE(failure(text).find("x.yaml:1: hook is"), std::string::npos) << failure(text);
  EXPECT_NE(failure("hooks: b\n").find("a list, such as [a, b]"), std::string::npos);

  const std::pair<std::string, std::string> none{"hook", ""}, one{"hook", "b"},
      two{"hook", "[b, a]"};
  EXPECT_EQ(std::ranges::count(printed(read("lr: 1\n")), none), 1);
  EXPECT_EQ(std::ranges::count(printed(read("hook: [b]\n")), one), 1);
  EXPECT_EQ(std::ranges::count(printed(read("hook: [b, a]\n")), two), 1);
}

TEST(Yaml, remembers_where_each_key_of_a_read_was_given) {
  Settings mine, other;
  const Origins origins = read_yaml_text("lr: 1\nsaes:\n  - {k: 1}\n", "mine.yaml",
                                         {"saes.0.name=b"}, [&](Fields& f) { describe(f, mine); });
  (void)read_yaml_text("lr: 2\nrows: 3\n", "other.yaml", {},
                       [&](Fields& f) { describe(f, other); });

  EXPECT_EQ(origins.of("lr"), "mine.yaml:1");
  EXPECT_EQ(origins.of("saes.0.k"), "mine.yaml:3");
  EXPECT_EQ(origins.of("saes.0.name"), "--set saes.0.name");
  EXPECT_EQ(origins.of("rows"), "default");
}

TEST(ConfigurationFile, says_what_a_file_is_that_is_no_configuration) {
  const fs::path folder = fs::path(::testing::TempDir()) / "refract_configuration_file";
  fs::create_directories(folder);
  const auto said = [&](const std::string& name, const std::string& bytes) {
    write_file(folder / name, bytes);
    try {
      (void)read_configuration_file((folder / name).string());
    } catch (const ConfigError& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };

  EXPECT_NE(said("empty.yaml", " \n").find("an empty file"), std::string::npos);
  EXPECT_NE(said("x.h5", std::string("\x89HDF\r\n\0\0", 8)).find("a binary file"),
            std::string::npos);
  EXPECT_NE(said("report.html", "<!doctype html>\n<html>").find("an HTML page"), std::string::npos);
  try {
    (void)read_configuration_file(folder.string());
    FAIL() << "a folder was read";
  } catch (const ConfigError& error) {
    EXPECT_NE(std::string(error.what()).find("is a folder"), std::string::npos);
  }
  EXPECT_THROW((void)read_configuration_file((folder / "nowhere.yaml").string()), ConfigError);
  fs::remove_all(folder);
}

TEST(Yaml, prints_every_text_so_that_it_reads_back) {
  for (const char* text : {"null", "~", "", "a b", " a", "- a", "!a", "a: b", "a\nb", "\"q\"",
                           "C:\\x", "#1", "true", "1e3", "\t"}) {
    Settings s;
    s.take = text;
    const Settings again = read(print_yaml([&](Fields& f) { describe(f, s); }));
    EXPECT_EQ(again.take, text);
  }
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
