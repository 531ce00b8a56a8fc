#include "refract/app/command_table.hpp"

#include <fmt/format.h>

#include <array>
#include <cstdio>

#include "app/commands.hpp"

namespace refract {
namespace {

constexpr std::string_view kConfigured =
    "set dry-run print-config ranks threads stop-after allow-numerics-change";

constexpr std::array<Command, 18> kCommands{{
    {"run", "config.yaml",
     "the whole pipeline: download, tokenize, extract, train, evaluate, probe, report", kConfigured,
     "configs/demo.yaml --ranks 2 --set run=runs/mine", Mpi::always, run_command},
    {"download", "config.yaml", "fetch the shards; resumable, verified; needs no MPI",
     "set dry-run print-config", "configs/demo.yaml", Mpi::never, download_command},
    {"tokenize", "config.yaml", "shards to token shards and contexts", kConfigured,
     "configs/demo.yaml", Mpi::always, tokenize_command},
    {"extract", "config.yaml", "token shards to activation chunks, as far as the quota allows",
     kConfigured, "configs/demo.yaml", Mpi::always, extract_command},
    {"train", "config.yaml", "activation chunks to SAEs (makes the chunks it lacks)", kConfigured,
     "configs/demo.yaml --set saes.*.k=32", Mpi::always, train_command},
    {"evaluate", "config.yaml", "metrics on held-out rows with verdicts, baselines, loss; --json",
     "set dry-run print-config ranks threads stop-after allow-numerics-change json",
     "configs/demo.yaml", Mpi::always, evaluate_command},
    {"probe", "config.yaml", "what the features mean; --feature f, --verify",
     "set dry-run print-config ranks threads stop-after allow-numerics-change verify sae feature",
     "configs/demo.yaml --sae small --feature 28", Mpi::always, probe_command},
    {"report", "config.yaml", "one self-contained HTML file",
     "set dry-run print-config ranks threads allow-numerics-change", "configs/demo.yaml",
     Mpi::always, report_command},
    {"export", "run", "an SAE as SAELens, sparsify or dictionary_learning load it",
     "sae checkpoint format dtype out", "runs/demo --format sparsify --out exported", Mpi::never,
     export_command},
    {"submit", "config.yaml", "check, write the job script, hand it to sbatch", "set site print",
     "configs/demo.yaml --site jobs/site/example.env --print", Mpi::never, submit_command},
    {"status", "run...",
     "how runs stand: state, stage, rate, time left, disk, cause; reads files only", "watch json",
     "runs/demo --watch", Mpi::never, status_command},
    {"table", "run", "what was asked of each SAE and what came of it, in one table; --csv", "csv",
     "runs/demo", Mpi::never, table_command},
    {"describe", "path", "what is this artifact, file or folder; --verify checks every digest",
     "verify", "runs/demo --verify", Mpi::never, describe_command},
    {"clean", "config.yaml", "what no run under data_root names; --yes removes it",
     "set dry-run yes", "configs/demo.yaml", Mpi::never, clean_command},
    {"settings", "[section]", "the settings, with defaults, units and ranges", "", "train",
     Mpi::never, settings_command},
    {"doctor", "", "what works here, and which cores each rank has (--ranks)", "ranks threads",
     "--ranks 4", Mpi::if_launched, doctor_command},
    {"selftest", "", "does it compute rightly here; --truth: and does training learn (a minute)",
     "truth json ranks threads", "--truth", Mpi::always, selftest_command},
    {"help", "[command]", "this list, or what a command takes", "", "run", Mpi::never,
     help_command},
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
  return text +
         "\n`refract <command> --help` lists the options of a command, `refract --version` says "
         "which refract this is.\n"
         "Exit codes: 0 done, 2 configuration, 3 data, 4 system, 5 not built, 6 numerical, 85 "
         "stopped: start again to go on.\n";
}

std::string usage_of(const Command& command) {
  const auto spaced = [](std::string_view text) {
    return text.empty() ? std::string() : fmt::format(" {}", text);
  };
  return fmt::format(
      "refract {}: {}\n\nUsage: refract {}{} [options]\n\n{}\nExample: refract {}{}\n",
      command.word, command.help, command.word, spaced(command.arguments),
      option_help(command.options), command.word, spaced(command.example));
}

}  // namespace refract
