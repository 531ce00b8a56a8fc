#include <fmt/format.h>

#include <boost/program_options.hpp>
#include <sstream>

#include "refract/app/command_table.hpp"
#include "refract/base/numbers.hpp"

namespace refract {
namespace {

namespace po = boost::program_options;

constexpr std::string_view kEverywhere = "quiet help version";
constexpr std::uint64_t kMostRanks = 1 << 20, kMostThreads = 4096, kMostFeatures = 1 << 30;

bool holds(std::string_view words, std::string_view word) {
  while (!words.empty()) {
    const std::size_t end = std::min(words.find(' '), words.size());
    if (words.substr(0, end) == word) return true;
    words.remove_prefix(std::min(words.size(), end + 1));
  }
  return false;
}

template <typename Number>
auto count(std::string_view option, Number& to, std::uint64_t least, std::uint64_t most,
           const char* name) {
  return po::value<std::string>()->value_name(name)->notifier([=, &to](const std::string& text) {
    const auto value = parse_count(text, most);
    if (!value || *value < least)
      throw ConfigError("--{} is '{}'; expected a whole number from {} to {}", option, text, least,
                        most);
    to = static_cast<Number>(*value);
  });
}

auto duration(std::string_view option, double& seconds) {
  return po::value<std::string>()->value_name("time")->notifier(
      [=, &seconds](const std::string& text) {
        const auto value = parse_duration_s(text);
        if (!value || *value == 0)
          throw ConfigError(
              "--{} is '{}'; expected a time with its unit: 90s, 45min, 3h, 2d, 1h30min, or "
              "04:00:00",
              option, text);
        seconds = static_cast<double>(*value);
      });
}

void add_options(po::options_description& all, CommandLine& line) {
  all.add_options()("set", po::value(&line.overrides)->composing()->value_name("key=value"),
                    "override a setting: --set saes.0.k=64, --set saes.*.k=64")(
      "dry-run", po::bool_switch(&line.dry_run),
      "print the plan (roles, order, disk, memory) and touch nothing")(
      "print-config", po::bool_switch(&line.print_config), "print the resolved configuration")(
      "ranks", count("ranks", line.ranks, 1, kMostRanks, "n"),
      "start so many ranks on this machine or allocation; with --dry-run: plan for them")(
      "stop-after", duration("stop-after", line.time.stop_after_s),
      "write a checkpoint and end after so long: 3h, 90min, 1-12:00:00; ends with 85")(
      "threads", count("threads", line.threads, 1, kMostThreads, "n"),
      "OpenMP threads of a rank [its share of the cores]")(
      "allow-numerics-change", po::bool_switch(&line.allow_numerics_change),
      "resume although what computes has changed")(
      "verify", po::bool_switch(&line.verify),
      "read and recompute all that can be checked, and name the first difference")(
      "site", po::value(&line.site)->value_name("file"),
      "the cluster's settings, as jobs/site/example.env [$REFRACT_SITE]")(
      "print", po::bool_switch(&line.print), "check, print the script, write and submit nothing")(
      "sae", po::value(&line.sae)->value_name("name"), "of this SAE [the first]")(
      "checkpoint", po::value(&line.checkpoint)->value_name("name"),
      "of this folder under checkpoints/, in bf16 [latest/, in fp32]")(
      "format", po::value(&line.format)->value_name("word"),
      "saelens, sparsify or dictionary_learning")(
      "dtype", po::value(&line.dtype)->value_name("word"), "fp32, or bf16 where the format has it")(
      "out", po::value(&line.out)->value_name("folder"), "write into this folder")(
      "feature", count("feature", line.feature, 0, kMostFeatures, "f"),
      "print this feature in the terminal")("yes", po::bool_switch(&line.yes),
                                            "remove what is listed, without asking")(
      "watch", po::bool_switch(&line.watch),
      "look again every two seconds, until ^C or until all have ended")(
      "json", po::bool_switch(&line.json), "for programs: docs/formats/run.md")(
      "csv", po::bool_switch(&line.csv), "comma-separated values, with all their digits")(
      "truth", po::bool_switch(&line.truth),
      "train SAEs on rows made of known features, and tell how many of those they found")(
      "quiet", po::bool_switch(&line.quiet), "no progress")(
      "help", po::bool_switch(&line.help), "this text")("version", po::bool_switch(&line.version),
                                                        "the version, and nothing else");
}

std::string dashed(std::string_view words) {
  std::string text;
  for (std::size_t at = 0; at < words.size();) {
    const std::size_t end = std::min(words.find(' ', at), words.size());
    text += fmt::format("{}--{}", text.empty() ? "" : ", ", words.substr(at, end - at));
    at = end + 1;
  }
  return text;
}

void refuse_foreign_options(const Command& command, const po::variables_map& values) {
  for (const auto& [name, value] : values)
    if (name != "words" && !value.defaulted() && !has_option(command, name))
      throw ConfigError(
          "refract {} has no option --{}; it has {}", command.word, name,
          dashed(command.options.empty() ? std::string(kEverywhere)
                                         : fmt::format("{} {}", command.options, kEverywhere)));
}

}  // namespace

bool has_option(const Command& command, std::string_view option) {
  return holds(command.options, option) || holds(kEverywhere, option);
}

CommandLine parse_command_line(int argc, const char* const* argv) {
  CommandLine line;
  std::vector<std::string> words;
  po::options_description all("Options");
  add_options(all, line);
  all.add_options()("words", po::value(&words));
  po::positional_options_description positional;
  positional.add("words", -1);
  po::variables_map values;
  try {
    po::store(
        po::command_line_parser(argc, argv)
            .options(all)
            .positional(positional)
            .style(po::command_line_style::unix_style & ~po::command_line_style::allow_guessing)
            .run(),
        values);
    po::notify(values);
  } catch (const po::error& error) {
    throw ConfigError(
        "{}. `refract --help` lists the commands, `refract <command> --help` its options.",
        error.what());
  }
  if (!words.empty()) {
    line.command = words.front();
    line.arguments.assign(words.begin() + 1, words.end());
  }
  if (const Command* command = find_command(line.command)) refuse_foreign_options(*command, values);
  return line;
}

std::string option_help(std::string_view words) {
  CommandLine line;
  po::options_description all, chosen("Options");
  add_options(all, line);
  for (const auto& option : all.options())
    if (holds(words, option->long_name()) || holds(kEverywhere, option->long_name()))
      chosen.add(option);
  std::ostringstream text;
  text << chosen;
  return text.str();
}

}  // namespace refract
