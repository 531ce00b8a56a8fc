#include "app/commands.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "app/launch.hpp"
#include "refract/base/build_info.hpp"
#include "refract/base/file.hpp"
#include "refract/base/parallel.hpp"
#include "refract/base/progress.hpp"
#include "refract/base/stop.hpp"
#include "refract/comm/environment.hpp"
#include "refract/comm/placement.hpp"
#include "refract/ops/gemm.hpp"
#include "refract/pipeline/clean.hpp"
#include "refract/pipeline/describe.hpp"
#include "refract/pipeline/export_run.hpp"
#include "refract/pipeline/numerics.hpp"
#include "refract/pipeline/pipeline.hpp"
#include "refract/pipeline/preflight.hpp"
#include "refract/pipeline/run_evaluation.hpp"
#include "refract/pipeline/run_folder.hpp"
#include "refract/pipeline/run_registry.hpp"
#include "refract/pipeline/run_status.hpp"
#include "refract/pipeline/run_table.hpp"
#include "refract/pipeline/schedule.hpp"
#include "refract/stages/download.hpp"
#include "refract/stages/features.hpp"
#include "refract/stages/probe.hpp"
#include "refract/stages/selftest.hpp"
#include "refract/store/artifact.hpp"

namespace refract {

RunConfig config_of(const CommandLine& line) {
  if (line.arguments.size() != 1)
    throw ConfigError(
        "refract {} takes one configuration file; {} given. Example: refract {} configs/demo.yaml",
        line.command, line.arguments.size(), line.command);
  return load_run_config(line.arguments.front(), line.overrides, asks_of(line.command));
}

namespace {

// --print-config and --dry-run, which every configured command has.
bool only_printed(const CommandLine& line, const RunConfig& config) {
  if (line.print_config) fmt::print("{}", to_yaml(config));
  if (line.dry_run)
    fmt::print("{}", dry_run(config, line.ranks > 0 ? line.ranks : 1, asks_of(line.command)));
  return line.print_config || line.dry_run;
}

// The last attempt that began to work.
std::uint64_t attempt_of(const RunConfig& config) {
  const auto status = read_status(run_folder(config.run, "").status());
  return status ? status->attempt : 0;
}

// What goes on with a run must fit it: the plan of what would be refused is not printed.
void expect_same_run_as_planned(const CommandLine& line, const RunConfig& config, Until until) {
  const bool trains = until > Until::extract && !line.allow_numerics_change;
  const int ranks = line.ranks > 0 ? line.ranks : 1;
  // Within a job of many ranks the plan is made by each alone, and how many there are is not known.
  const bool ranks_known = line.ranks > 0 || !in_launched_world();
  expect_same_run(
      config,
      trains && ranks_known
          ? static_cast<int>(
                plan_roles(config.pipeline, ranks, usable_cores()).ranks_with(Role::train).size())
          : 0);
}

// Threads are this rank's fair share of its host, unless somebody gave their number.
Placement collective_settle(const CommandLine& line, Communicator& world) {
  Placement placement = collective_placement(world);
  if (line.threads == 0 && !std::getenv("OMP_NUM_THREADS"))
    set_thread_count(placement.fair_threads);
  return placement;
}

ExitCode run_until(const CommandLine& line, Until until) {
  const RunConfig config = config_of(line);
  if (line.dry_run) expect_same_run_as_planned(line, config, until);
  if (only_printed(line, config)) return ExitCode::ok;
  install_stop_handlers();
  Communicator world = Communicator::world();
  const Placement placement = collective_settle(line, world);
  if (world.rank() == 0)
    say(fmt::format("refract {}: {}; run folder {}", kVersion, placement.text(thread_count()),
                    config.run));
  const std::uint64_t before = attempt_of(config);
  const ExitCode code = collective_run(config, world,
                                       {.until = until,
                                        .command = line.command,
                                        .hosts = placement.hosts,
                                        .allow_numerics_change = line.allow_numerics_change,
                                        .time = line.time});
  // A run that was finished already has said where its report is.
  if (world.rank() == 0 && code == ExitCode::ok && until == Until::report &&
      attempt_of(config) != before)
    say(fmt::format("report: {}", (fs::path(config.run) / config.report.file).string()));
  return code;
}

void expect_arguments(const CommandLine& line, std::size_t most) {
  if (line.arguments.size() > most)
    throw ConfigError("refract {} takes {} argument(s); {} given. `refract {} --help` says which.",
                      line.command, most, line.arguments.size(), line.command);
}

}  // namespace

Asks asks_of(std::string_view command) {
  return command == "download" || command == "tokenize" || command == "clean" ? Asks::corpus
                                                                              : Asks::everything;
}

ExitCode run_command(const CommandLine& line) { return run_until(line, Until::report); }
ExitCode tokenize_command(const CommandLine& line) { return run_until(line, Until::tokenize); }
ExitCode extract_command(const CommandLine& line) { return run_until(line, Until::extract); }
ExitCode train_command(const CommandLine& line) { return run_until(line, Until::train); }

// What was found is printed also where all of it was there already. With --json it is all that
// stdout gets.
ExitCode evaluate_command(const CommandLine& line) {
  if (line.json) set_quiet(true);
  const ExitCode code = run_until(line, Until::evaluate);
  if (code != ExitCode::ok || line.dry_run || line.print_config) return code;
  if (Communicator::world().rank() != 0) return code;
  const RunConfig config = config_of(line);
  const RunEvaluation found(config, run_folder(config.run, model_display_name(config.model)));
  fmt::print("{}", line.json ? found.to_json() + "\n"
                             : found.describe(Advice::load(config.evaluate.advice)) +
                                   to_markdown(run_table(config, found, Digits::few)));
  return code;
}

ExitCode report_command(const CommandLine& line) {
  const RunConfig config = config_of(line);
  if (only_printed(line, config)) return ExitCode::ok;
  install_stop_handlers();
  Communicator world = Communicator::world();
  collective_report(config, world);
  if (world.rank() == 0)
    say(fmt::format("report: {}", (fs::path(config.run) / config.report.file).string()));
  return ExitCode::ok;
}

ExitCode download_command(const CommandLine& line) {
  const RunConfig config = config_of(line);
  if (only_printed(line, config)) return ExitCode::ok;
  (void)read_model_info(model_folder(config));
  // As long as the run's folder is there, `refract clean` keeps what was fetched for it.
  make_folder(config.run);
  register_more(config.data_root, config.run,
                {plan_download(config.source, config.data_root).folder});
  const DownloadResult result = download(config.source, config.data_root, Verify::again);
  say(fmt::format("{} shard(s) in {}, {} of them fetched now; all verified", result.shards.size(),
                  result.folder.string(), result.fetched));
  return ExitCode::ok;
}

ExitCode probe_command(const CommandLine& line) {
  if (!line.verify && line.feature < 0) return run_until(line, Until::probe);
  const RunConfig config = config_of(line);
  if (line.verify) {
    Communicator world = Communicator::world();
    collective_verify(config, world);
    return ExitCode::ok;
  }
  const std::string sae = line.sae.empty() ? config.saes.front().name : line.sae;
  const RunFolder folder = run_folder(config.run, model_display_name(config.model));
  const FeatureAtlas atlas = read_features(folder.features(sae));
  fmt::print("{}", describe_feature(atlas, static_cast<std::size_t>(line.feature),
                                    ::isatty(STDOUT_FILENO) == 1));
  return ExitCode::ok;
}

ExitCode export_command(const CommandLine& line) {
  if (line.arguments.size() != 1 || line.format.empty() || line.out.empty())
    throw ConfigError(
        "refract export takes one run's folder, --format and --out. Example: refract export "
        "runs/demo --format sparsify --out exported");
  const fs::path made = export_sae({.run = line.arguments.front(),
                                    .sae = line.sae,
                                    .checkpoint = line.checkpoint,
                                    .format = line.format,
                                    .dtype = line.dtype,
                                    .out = line.out});
  fmt::print("{}\n", made.string());
  return ExitCode::ok;
}

ExitCode table_command(const CommandLine& line) {
  if (line.arguments.size() != 1)
    throw ConfigError(
        "refract table takes the folder of one run; {} given. Example: refract table "
        "runs/demo",
        line.arguments.size());
  const std::vector<fs::path> runs = runs_meant(line.arguments.front());
  if (runs.size() != 1)
    throw ConfigError("{} holds {} runs: give the folder of one", line.arguments.front(),
                      runs.size());
  const RunFolder folder = run_folder(runs.front(), "");
  if (!fs::exists(folder.run_yaml()))
    throw DataError("{} has no run.yaml: nothing was trained in it yet. Run refract evaluate.",
                    runs.front().string());
  const RunConfig config = read_frozen(folder.run_yaml()).config;
  const TextTable table =
      run_table(config, RunEvaluation(config, folder), line.csv ? Digits::all : Digits::few);
  if (table.rows.empty())
    throw DataError("no SAE of {} was evaluated yet. Run refract evaluate.", runs.front().string());
  fmt::print("{}", line.csv ? to_csv(table) : to_markdown(table));
  return ExitCode::ok;
}

ExitCode describe_command(const CommandLine& line) {
  if (line.arguments.size() != 1)
    throw ConfigError("refract describe takes one file or folder; {} given", line.arguments.size());
  const fs::path path = line.arguments.front();
  fmt::print("{}", line.verify ? verify(path) : describe(path));
  return ExitCode::ok;
}

ExitCode clean_command(const CommandLine& line) {
  if (line.yes && line.dry_run)
    throw ConfigError(
        "refract clean takes --yes or --dry-run, not both: --dry-run removes nothing");
  const RunConfig config = config_of(line);
  fmt::print("{}", clean(config.data_root, line.yes));
  return ExitCode::ok;
}

ExitCode help_command(const CommandLine& line) {
  expect_arguments(line, 1);
  if (line.arguments.empty()) {
    fmt::print("{}", usage());
    return ExitCode::ok;
  }
  const Command* command = find_command(line.arguments.front());
  if (!command)
    throw ConfigError("no command '{}'. `refract --help` lists them.", line.arguments.front());
  fmt::print("{}", usage_of(*command));
  return ExitCode::ok;
}

ExitCode settings_command(const CommandLine& line) {
  expect_arguments(line, 1);
  fmt::print("{}", settings_reference(line.arguments.empty() ? "" : line.arguments.front()));
  return ExitCode::ok;
}

ExitCode doctor_command(const CommandLine& line) {
  expect_arguments(line, 0);
  const GemmSelfTest gemm = gemm_self_test();
  // Ranks that were started together are compared; one machine is described, rank 0's.
  if (line.ranks > 1 || in_launched_world()) {
    Communicator world = Communicator::world();
    const std::string places = collective_places(
        world, line.threads == 0 && !std::getenv("OMP_NUM_THREADS") ? 0 : thread_count());
    if (world.rank() != 0) return ExitCode::ok;
    fmt::print("{}", places);
  }
  fmt::print("refract {}\n", kVersion);
  fmt::print("host           {}, {} thread(s)\n", host_name(), thread_count());
  fmt::print("MPI            {}\n", mpi_description());
  fmt::print("GEMM           {}\n", gemm_backend_description());
  fmt::print("GEMM self-test {}\n",
             gemm.passed ? "passed: a row's bytes do not depend on the rows beside it"
                         : "FAILED: " + gemm.difference +
                               ". Build again on this machine; if it fails again, use another.");
  fmt::print("CUDA           {}\n",
             !has_cuda ? "not in this build (configure with nvcc on PATH, -DREFRACT_CUDA=ON)"
             : cuda_device_count() > 0
                 ? fmt::format("{} device(s)", cuda_device_count())
                 : "in this build; no device on this machine: the CPU is used");
  fmt::print("NCCL           {}\n", has_nccl ? "in this build" : "not in this build");
  return gemm.passed ? ExitCode::ok : ExitCode::numerical;
}

ExitCode selftest_command(const CommandLine& line) {
  expect_arguments(line, 0);
  install_stop_handlers();
  Communicator world = Communicator::world();
  (void)collective_settle(line, world);
  if (const GemmSelfTest gemm = gemm_self_test(); !gemm.passed)
    throw NumericalError(
        "the self-test of products failed: {}. Build again on this machine; if it fails again, use "
        "another.",
        gemm.difference);
  if (!line.truth) {
    if (world.rank() == 0)
      fmt::print("{}", line.json ? "{\"products\":true}\n"
                                 : "products: passed. `refract selftest --truth` also trains, on "
                                   "rows made of known features.\n");
    return ExitCode::ok;
  }
  const TruthReport report = collective_truth_test({}, world);
  if (world.rank() == 0) {
    fmt::print("{}", line.json ? to_json(report) : describe(report));
    std::fflush(stdout);
  }
  if (!report.failures.empty())
    throw NumericalError(
        "SAEs that should have learned the planted features did not clearly beat a dictionary that "
        "was never trained: {}. Training cannot be trusted here: build again on this machine, and "
        "run the tests of its build.",
        fmt::join(report.failures, ", "));
  return ExitCode::ok;
}

}  // namespace refract
