#include "app/launch.hpp"

#include <fmt/format.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <optional>

#include "app/commands.hpp"
#include "app/launch_process.hpp"
#include "refract/base/command.hpp"
#include "refract/base/error.hpp"
#include "refract/base/machine.hpp"
#include "refract/base/numbers.hpp"
#include "refract/base/parallel.hpp"
#include "refract/base/progress.hpp"
#include "refract/base/slurm.hpp"
#include "refract/comm/environment.hpp"
#include "refract/pipeline/run_config.hpp"

namespace refract {
namespace {

namespace fs = std::filesystem;

// 0: not set. Bounded, so that sums and products of two fit.
int number_in_env(const char* name) {
  constexpr std::uint64_t kMost = 1 << 15;
  const char* text = std::getenv(name);
  if (!text) return 0;
  const auto number = parse_count(text, kMost);
  if (!number)
    throw ConfigError("{} is '{}' in the environment; expected a whole number of at most {}", name,
                      text, kMost);
  return static_cast<int>(*number);
}

std::string output_of(const std::vector<std::string>& words) {
  constexpr double kPatience_s = 30;
  const std::optional<Answer> answer = ask(words, kPatience_s);
  return answer ? answer->text : "";
}

// Container runtimes often forbid process_vm_readv; Open MPI then fails in the first large message.
bool single_copy_allowed() {
  char from = 'x', to = 0;
  const iovec local{&to, 1}, remote{&from, 1};
  return ::process_vm_readv(::getpid(), &local, 1, &remote, 1, 0) == 1;
}

// Open MPI first: inside an allocation it asks the batch system itself. Another MPI's mpirun would
// start worlds of one rank.
LaunchSite find_launcher() {
  LaunchSite site;
  for (const char* name : {"mpirun", "mpiexec"}) {
    const std::string path = in_path(name);
    if (path.empty()) continue;
    const std::string version = output_of({path, "--version"});
    if (version.find("Open MPI") == std::string::npos &&
        version.find("OpenRTE") == std::string::npos)
      continue;
    site.launcher_path = path;
    site.launcher = version.find("Open MPI) 4") != std::string::npos ||
                            version.find("OpenRTE) 4") != std::string::npos
                        ? Launcher::open_mpi_4
                        : Launcher::open_mpi_5;
    return site;
  }
  if (const std::string srun = in_path("srun"); !srun.empty() && std::getenv("SLURM_JOB_ID")) {
    site.launcher_path = srun;
    site.launcher = Launcher::srun;
    site.pmix = output_of({srun, "--mpi=list"}).find("pmix") != std::string::npos;
    return site;
  }
  throw SystemError(
      "--ranks needs Open MPI's mpirun (or srun, inside an allocation), and PATH has none: install "
      "Open MPI (Debian: openmpi-bin) or load its module (module load openmpi)");
}

LaunchSite this_site(const CommandLine& line) {
  LaunchSite site = find_launcher();
  site.binary = this_program();
  site.cores = usable_cores();
  site.slots = number_in_env("SLURM_NTASKS");
  site.cores_of_slot = number_in_env("SLURM_CPUS_PER_TASK");
  if (site.slots > 0)
    site.cores = std::max(site.cores, site.slots * std::max(1, site.cores_of_slot));
  site.threads = line.threads;
  site.threads_in_env = std::getenv("OMP_NUM_THREADS") != nullptr;
  site.root = ::geteuid() == 0;
  site.single_copy = single_copy_allowed();
  return site;
}

void add(std::vector<std::string>& words, std::initializer_list<const char*> more) {
  words.insert(words.end(), more.begin(), more.end());
}

// Ranks are not bound. Outside an allocation two jobs on one machine would be bound to the same
// first cores. Inside one, Open MPI binds a rank to a single core whatever --cpus-per-task says;
// the batch system has confined the job to its cores, and the ranks of a host share those evenly
// (comm/placement.hpp). srun, told the cores of a task, binds each to its own.
void add_placement(std::vector<std::string>& words, const LaunchSite& site, int ranks) {
  const bool oversubscribed = ranks > (site.slots > 0 ? site.slots : site.cores);
  if (site.launcher == Launcher::srun) {
    if (oversubscribed)
      add(words, {"--overcommit"});
    else if (site.cores_of_slot > 0)
      words.push_back(fmt::format("--cpus-per-task={}", site.cores_of_slot));
    return;
  }
  if (site.root) add(words, {"--allow-run-as-root"});
  if (oversubscribed)
    add(words, {"--oversubscribe"});
  else if (site.slots == 0 && site.launcher == Launcher::open_mpi_4)
    add(words, {"--use-hwthread-cpus"});
  else if (site.slots == 0)
    add(words, {"--map-by", ":HWTCPUS"});
  add(words, {"--bind-to", "none"});
  if (ranks > site.cores) add(words, {"--mca", "mpi_yield_when_idle", "1"});
  if (!site.single_copy)
    add(words, {"--mca",
                site.launcher == Launcher::open_mpi_4 ? "btl_vader_single_copy_mechanism" : "smsc",
                site.launcher == Launcher::open_mpi_4 ? "none" : "^cma"});
}

}  // namespace

bool in_launched_world() { return launched_by() || std::getenv("REFRACT_LAUNCHED"); }

void expect_ranks(const CommandLine& line, int ranks) {
  if (line.ranks == 0 || line.dry_run || line.print_config || line.ranks == ranks) return;
  if (std::getenv("REFRACT_LAUNCHED"))
    throw ConfigError(
        "--ranks {}, but MPI has a world of {}: the mpirun in PATH is not of the MPI that refract "
        "was built with. Put that one first in PATH (refract doctor names it).",
        line.ranks, ranks);
  const std::optional<LaunchedBy> launcher = launched_by();
  throw ConfigError(
      "--ranks {}, but a launcher already started {} rank(s){}: leave --ranks out under mpirun or "
      "srun, or give that number",
      line.ranks, ranks,
      launcher ? fmt::format(" ({} says so; `unset {}` if it was left behind in this shell)",
                             launcher->variable, launcher->variable)
               : "");
}

namespace {

[[noreturn]] void refuse_singletons(int tasks) {
  if (slurm_step_rank() != 0) std::_Exit(static_cast<int>(ExitCode::system));
  throw SystemError(
      "srun started {} tasks (SLURM_STEP_NUM_TASKS) that do not know of each other: each would run "
      "alone. Start them with `srun --mpi=pmix` (`srun --mpi=list` shows what this Slurm has; MPI "
      "must be built with the same PMIx), or leave srun out: `refract run --ranks {}`.",
      tasks, tasks);
}

}  // namespace

void prepare_for_srun() {
  for (const char* pmi : {"PMIX_RANK", "PMI_RANK", "OMPI_COMM_WORLD_SIZE"})
    if (std::getenv(pmi)) return;
  const int tasks = slurm_step_tasks();
  if (tasks > 1) refuse_singletons(tasks);
  if (tasks == 1) ::unsetenv("SLURM_STEP_ID");
}

void expect_one_world(int ranks) {
  const int tasks = slurm_step_tasks();
  // mpirun within a step makes a world of its own.
  if (ranks < tasks && !std::getenv("OMPI_COMM_WORLD_SIZE")) refuse_singletons(tasks);
}

std::vector<std::string> launch_command(const LaunchSite& site, int ranks,
                                        const std::vector<std::string>& arguments) {
  std::vector<std::string> words{site.launcher_path};
  const int threads = site.threads > 0 ? site.threads : std::max(1, site.cores / ranks);
  std::vector<std::string> environment;
  if (site.threads == 0)
    environment.push_back(site.threads_in_env ? "OMP_NUM_THREADS"
                                              : fmt::format("OMP_NUM_THREADS={}", threads));
  // libgomp reads this once, when it is loaded: a waiting thread must not spin on a core that
  // another rank needs.
  if (ranks * threads > site.cores) environment.emplace_back("OMP_WAIT_POLICY=passive");

  if (site.launcher == Launcher::srun) {
    add(words, {"--kill-on-bad-exit=1"});
    if (site.pmix) add(words, {"--mpi=pmix"});
    std::string exported = "--export=ALL";
    for (const std::string& setting : environment)
      if (setting.find('=') != std::string::npos) exported += "," + setting;
    words.push_back(exported);
  }
  add_placement(words, site, ranks);
  if (site.launcher != Launcher::srun)
    for (const std::string& setting : environment) words.insert(words.end(), {"-x", setting});
  words.insert(words.end(), {"-n", std::to_string(ranks), site.binary});
  words.insert(words.end(), arguments.begin(), arguments.end());
  return words;
}

int launch(const CommandLine& line, int argc, char** argv) {
  if (line.arguments.size() == 1)
    (void)load_run_config(line.arguments.front(), line.overrides,
                          asks_of(line.command));  // an error comes once
  const LaunchSite site = this_site(line);
  const std::vector<std::string> command =
      launch_command(site, line.ranks, {argv + 1, argv + argc});
  say(as_shell_line(command));
  return run_launcher(command, on_terminal());
}

}  // namespace refract
