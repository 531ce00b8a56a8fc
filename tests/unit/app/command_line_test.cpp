#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "refract/app/command_table.hpp"

namespace refract {
namespace {

CommandLine parsed(std::vector<const char*> words) {
  words.insert(words.begin(), "refract");
  return parse_command_line(static_cast<int>(words.size()), words.data());
}

std::string failure(const std::vector<const char*>& words) {
  try {
    (void)parsed(words);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

TEST(CommandLine, reads_words_and_options_in_any_order) {
  const CommandLine line =
      parsed({"--quiet", "run", "a.yaml", "--ranks", "4", "--set", "a=1", "--set", "b=2"});

  EXPECT_EQ(line.command, "run");
  EXPECT_EQ(line.arguments, std::vector<std::string>{"a.yaml"});
  EXPECT_EQ(line.overrides, (std::vector<std::string>{"a=1", "b=2"}));
  EXPECT_EQ(line.ranks, 4);
  EXPECT_TRUE(line.quiet);
  EXPECT_EQ(line.feature, -1);
}

TEST(CommandLine, refuses_numbers_out_of_range_and_names_the_option) {
  for (const char* number : {"0", "-1", "4294967297", "99999999999999999999", "two", "1.5", ""})
    for (const char* option : {"--ranks", "--threads"}) {
      const std::string text =
          failure({"run", "a.yaml", (std::string(option) + "=" + number).c_str()});
      EXPECT_NE(text.find(option), std::string::npos) << number << ": " << text;
    }
  for (const char* number : {"-1", "4294967297", "x"})
    EXPECT_NE(failure({"probe", "a.yaml", (std::string("--feature=") + number).c_str()})
                  .find("--feature is '"),
              std::string::npos)
        << number;
  EXPECT_EQ(parsed({"probe", "a.yaml", "--feature", "0"}).feature, 0);
}

TEST(CommandLine, refuses_an_option_that_the_command_does_not_have) {
  EXPECT_NE(failure({"download", "a.yaml", "--ranks", "2"})
                .find("refract download has no option --ranks; it has --set"),
            std::string::npos);
  EXPECT_NE(failure({"run", "a.yaml", "--verify"}).find("--verify"), std::string::npos);
  EXPECT_NE(failure({"describe", "x", "--set", "a=1"}).find("--set"), std::string::npos);
  EXPECT_NE(failure({"run", "a.yaml", "--yes"}).find("--yes"), std::string::npos);
  EXPECT_NE(failure({"run", "a.yaml", "--nothing"}).find("--nothing"), std::string::npos);
}

TEST(CommandTable, every_command_says_its_options_and_an_example_that_parses) {
  for (const Command& command : command_table()) {
    const std::string text = usage_of(command);
    EXPECT_NE(text.find("Usage: refract " + std::string(command.word)), std::string::npos);
    EXPECT_EQ(text.find("--ranks") != std::string::npos, has_option(command, "ranks")) << text;
    std::vector<std::string> words{std::string(command.word)};
    for (std::string_view left = command.example; !left.empty();) {
      const std::size_t end = std::min(left.find(' '), left.size());
      words.emplace_back(left.substr(0, end));
      left.remove_prefix(std::min(left.size(), end + 1));
    }
    std::vector<const char*> pointers;
    for (const std::string& word : words) pointers.push_back(word.c_str());
    EXPECT_EQ(parsed(pointers).command, command.word);
  }
}

}  // namespace
}  // namespace refract
