#include "refract/app/command_table.hpp"

#include <fmt/format.h>

#include <array>
#include <cstdio>

#include "app/commands.hpp"

namespace refract {
namespace {

constexpr std::array<Command, 11> kCommands{{
    {"run", "config.yaml",
     "the whole pipeline: download, tokenize, extract, train, evaluate, probe, report", true,
     run_command},
    {"download", "config.yaml", "fetch the shards; resumable, verified; needs no MPI", false,
     download_command},
    {"tokenize", "config.yaml", "shards to token shards and contexts", true, tokenize_command},
    {"extract", "config.yaml", "token shards to activation chunks, as far as the quota allows",
     true, extract_command},
    {"train", "config.yaml", "activation chunks to SAEs (makes the chunks it lacks)", true,
     train_command},
    {"evaluate", "config.yaml", "metrics on held-out rows, baselines, CE loss", true,
     evaluate_command},
    {"probe", "config.yaml", "what the features mean; --feature f, --verify", true, probe_command},
    {"report", "config.yaml", "one self-contained HTML file", true, report_command},
    {"describe", "file", "what is this artifact", false, describe_command},
    {"settings", "[section]", "the settings, with defaults, units and ranges", false,
     settings_command},
    {"doctor", "", "what works on this machine, and what to do if not", false, doctor_command},
}};

}  // namespace

std::span<const Command> command_table() { return kCommands; }

const Command* find_command(std::string_view word) {
  for (const Command& command : kCommands)
    if (command.word == word) return &command;
  return nullptr;
}

std::string usage() {
  std::string text =
      "refract: sparse autoencoders on the activations of language models\n\nUsage: refract "
      "<command> [arguments] [options]\n\nCommands\n";
  for (const Command& command : kCommands)
    text += fmt::format("  {:<9} {:<12} {}\n", command.word, command.arguments, command.help);
  return text + "\n" + option_help() +
         "\nExit codes: 0 done, 2 configuration, 3 data, 4 system, 5 not built, 6 numerical, 85 "
         "stopped: start again to go on.\n";
}

}  // namespace refract
