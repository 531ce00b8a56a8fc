#include <fmt/format.h>

#include <boost/program_options.hpp>
#include <sstream>

#include "refract/app/command_table.hpp"

namespace refract {
namespace {

namespace po = boost::program_options;

po::options_description options(CommandLine& line) {
  po::options_description all("Options");
  all.add_options()("set", po::value(&line.overrides)->composing()->value_name("key=value"),
                    "override a setting: --set saes.0.k=64, --set saes.*.k=64")(
      "dry-run", po::bool_switch(&line.dry_run),
      "print the plan (roles, order, disk, memory) and touch nothing")(
      "print-config", po::bool_switch(&line.print_config), "print the resolved configuration")(
      "ranks", po::value(&line.ranks)->value_name("n"),
      "start so many ranks on this machine or allocation; with --dry-run: plan for them")(
      "threads", po::value(&line.threads)->value_name("n"),
      "OpenMP threads of a rank [its share of the cores]")(
      "allow-numerics-change", po::bool_switch(&line.allow_numerics_change),
      "resume although what computes has changed")(
      "verify", po::bool_switch(&line.verify),
      "probe: recompute stored rows and compare every byte")(
      "sae", po::value(&line.sae)->value_name("name"), "probe: of this SAE [the first]")(
      "feature", po::value(&line.feature)->value_name("f"),
      "probe: print this feature in the terminal")(
      "quiet", po::bool_switch(&line.quiet), "no progress")("help", po::bool_switch(&line.help),
                                                            "this text");
  return all;
}

}  // namespace

CommandLine parse_command_line(int argc, const char* const* argv) {
  CommandLine line;
  std::vector<std::string> words;
  po::options_description all = options(line), hidden;
  hidden.add(all).add_options()("words", po::value(&words));
  po::positional_options_description positional;
  positional.add("words", -1);
  try {
    po::variables_map values;
    po::store(
        po::command_line_parser(argc, argv)
            .options(hidden)
            .positional(positional)
            .style(po::command_line_style::unix_style & ~po::command_line_style::allow_guessing)
            .run(),
        values);
    po::notify(values);
  } catch (const po::error& error) {
    throw ConfigError("{}. `refract --help` lists the options.", error.what());
  }
  if (!words.empty()) {
    line.command = words.front();
    line.arguments.assign(words.begin() + 1, words.end());
  }
  return line;
}

std::string option_help() {
  CommandLine line;
  std::ostringstream text;
  text << options(line);
  return text.str();
}

}  // namespace refract
