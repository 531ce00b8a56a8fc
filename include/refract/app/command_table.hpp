#pragma once
// Every command: its word, one line of help, and how it runs.
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "refract/base/error.hpp"
#include "refract/pipeline/deadline.hpp"

namespace refract {

// What the command line said, split but not yet interpreted.
struct CommandLine {
  std::string command;
  std::vector<std::string> arguments;  // positional, without the command
  std::vector<std::string> overrides;  // --set key=value
  bool dry_run = false, print_config = false, help = false, version = false, verify = false,
       allow_numerics_change = false, yes = false, print = false, watch = false, json = false,
       truth = false, csv = false;
  bool quiet = false;
  int ranks = 0;      // --ranks; 0 = not given: one, or what a launcher started
  int threads = 0;    // --threads; 0 = OMP_NUM_THREADS, or a fair share of the cores
  JobTime time;       // --stop-after, and when the allocation ends
  long feature = -1;  // --feature; -1 = not given
  std::string sae;    // --sae
  std::string format, checkpoint, dtype, out;  // of export; empty: not given
  std::string site;                            // --site; empty: REFRACT_SITE, or none
};

// Whether a command runs on ranks: never; always (a world of one where nobody launched it); or only
// where there is a launcher or --ranks.
enum class Mpi { never, always, if_launched };

struct Command {
  std::string_view word, arguments, help;
  std::string_view options;  // the words of those it has, besides --help
  std::string_view example;  // what follows `refract <word>`
  Mpi mpi;
  ExitCode (*run)(const CommandLine& line);
};

[[nodiscard]] std::span<const Command> command_table();
[[nodiscard]] const Command* find_command(std::string_view word);
[[nodiscard]] std::string usage();
[[nodiscard]] std::string usage_of(const Command& command);
[[nodiscard]] bool has_option(const Command& command, std::string_view option);

// ConfigError for an unknown option, one that the command does not have, or a number out of range.
// An unknown command is left to the caller.
[[nodiscard]] CommandLine parse_command_line(int argc, const char* const* argv);
// The options in `words` (a command's), or those that every command has.
[[nodiscard]] std::string option_help(std::string_view words);

}  // namespace refract
