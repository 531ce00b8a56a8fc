#include "refract/pipeline/submission.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <sstream>
#include <string_view>
#include <utility>

#include "refract/base/command.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/numbers.hpp"
#include "refract/base/progress.hpp"
#include "refract/base/slurm.hpp"
#include "refract/pipeline/run_folder.hpp"
#include "refract/store/claim.hpp"

namespace refract {
namespace {

std::string script_of(const RunConfig& config, const ClusterSite& site) {
  const SubmitConfig& submit = config.submit;
  std::string script = submit.script;
  if (script == "auto")
    script = !site.requeue ? "chain" : submit.nodes == 1 ? "single-node" : "multi-node";
  if (script == "hetjob" && site.launcher != "srun")
    throw ConfigError(
        "{}: submit.script is hetjob, but SITE_LAUNCHER is {}, which sees the first component "
        "alone. Use srun with PMIx (`srun --mpi=list`), or multi-node.",
        where_given(config, "submit.script"), site.launcher);
  if (script == "single-node" && submit.nodes != 1)
    throw ConfigError("{}: submit.script is single-node, but submit.nodes is {}. Use multi-node.",
                      where_given(config, "submit.script"), submit.nodes);
  return script;
}

// The roles that jobs/attempt.sh gives the two components.
RunConfig with_het_roles(RunConfig config) {
  const SubmitConfig& submit = config.submit;
  if (submit.cpu_ranks % submit.cpu_nodes != 0)
    throw ConfigError(
        "{}: submit.cpu_ranks is {}, which {} nodes (submit.cpu_nodes) cannot share "
        "evenly. Take a multiple.",
        where_given(config, "submit.cpu_ranks"), submit.cpu_ranks, submit.cpu_nodes);
  config.pipeline.layout = "split";
  if (submit.cpu_ranks == 1) return config;
  config.pipeline.download_ranks = 1;
  config.pipeline.tokenize_ranks = submit.cpu_ranks - 1;
  const std::uint32_t gpu_ranks = submit.nodes * submit.ranks_per_node;
  config.pipeline.extract_ranks = gpu_ranks / 2;
  config.pipeline.train_ranks = gpu_ranks - gpu_ranks / 2;
  return config;
}

// srun binds a task to its own cores, mpirun leaves it those of the node's ranks.
JobShape shape_of(const SubmitConfig& submit, const ClusterSite& site) {
  return {.ranks_per_node = static_cast<int>(submit.ranks_per_node),
          .cores = static_cast<int>(submit.cpus_per_rank *
                                    (site.launcher == "srun" ? 1 : submit.ranks_per_node))};
}

// A run is one job's at a time: the second would wait in the queue only to be refused.
void expect_free(const RunConfig& config) {
  const RunFolder folder = run_folder(config.run, "");
  if (const auto owner = claim_owner(folder.lock()))
    throw SystemError("the run in {} is in use by {}. Wait for it to end: refract status {}",
                      config.run, *owner, config.run);
  const std::string id = slurm_id(read_submitted_job(folder));
  if (id.empty()) return;
  const auto state = slurm_state_of(id);
  if (state && !slurm_has_ended(*state))
    throw SystemError(
        "job {} of the run in {} is {} already. Let it run, or take it back first: scancel {}", id,
        config.run, *state, id);
}

// Where the site's own command tells what the kernel does not.
void apply_quota_command(const ClusterSite& site, RunPlan& plan) {
  if (site.quota_command.empty()) return;
  constexpr double kPatience_s = 60;
  const auto answer = ask({"bash", "-c", site.quota_command}, kPatience_s);
  std::string text = answer ? answer->text : "";
  text.erase(std::remove_if(text.begin(), text.end(),
                            [](unsigned char c) { return std::isspace(c) != 0; }),
             text.end());
  const auto left = parse_count(text);
  if (!answer || answer->code != 0 || !left)
    throw ConfigError(
        "SITE_QUOTA_COMMAND '{}' gave '{}'; expected a number of bytes. Mend it in the site file.",
        site.quota_command, text);
  for (Room& room : plan.rooms)
    room.there.quota_left_bytes = std::min(*left, room.there.quota_left_bytes.value_or(*left));
}

void check_memory(const RunConfig& config, const RunPlan& plan) {
  const std::uint64_t asked = config.submit.memory.value;
  if (asked == 0 || plan.node_bytes() <= asked) return;
  throw ConfigError(
      "{}: submit.memory is {} of a node, but its {} rank(s) hold up to {} (refract run --dry-run "
      "--ranks {} says what for). Raise it, or lower submit.ranks_per_node or train.cache_bytes.",
      where_given(config, "submit.memory"), human_bytes(asked), plan.ranks_per_node,
      human_bytes(plan.node_bytes()), plan.ranks);
}

void warn_of_time(const RunConfig& config, const RunPlan& plan, Submission& submission) {
  constexpr double kMostOfIt = 1.0 / 3;
  const double walltime = walltime_s(config.submit);
  if (plan.time.chunk_s > kMostOfIt * walltime) {
    const ChunkProposal proposal = propose_chunk(config, plan.time.chunk_s, walltime);
    submission.warnings.push_back(fmt::format(
        "a chunk is predicted to take {}, more than a third of the walltime {}: {}",
        human_seconds(plan.time.chunk_s), config.submit.time,
        proposal.chunk_rows > 0
            ? fmt::format("set store.chunk_rows {} with store.block_rows {}, or a longer "
                          "submit.time",
                          proposal.chunk_rows, proposal.block_rows)
            : "set a longer submit.time, or more ranks"));
  }
  if (2 * plan.time.checkpoint_s > config.submit.signal_s)
    submission.warnings.push_back(
        fmt::format("a checkpoint is predicted to take {}; raise submit.signal_s ({}) to twice "
                    "that at least",
                    human_seconds(plan.time.checkpoint_s), config.submit.signal_s));
  const double useful = walltime - config.submit.signal_s;
  const double attempts = std::ceil(plan.time.total_s / useful);
  submission.findings.push_back(
      fmt::format("time: about {} in all, {:.0f} attempt(s) of {}; a chunk takes {}; with {}",
                  human_seconds(plan.time.total_s), std::max(1.0, attempts), config.submit.time,
                  human_seconds(plan.time.chunk_s), plan.rates.origin));
  if (attempts > config.submit.max_attempts)
    submission.warnings.push_back(
        fmt::format("that is more than submit.max_attempts {}: raise it, or submit.time, or the "
                    "number of ranks",
                    config.submit.max_attempts));
}

// What a compute node cannot see is not there.
void warn_of_places(const RunConfig& config, const RunPlan& plan, Submission& submission) {
  constexpr std::array kOfOneMachine{"tmpfs", "ramfs", "ext4", "xfs", "btrfs", "overlay"};
  for (const Room& room : plan.rooms) {
    submission.findings.push_back(fmt::format(
        "room: {} takes {} more ({}); {} are still to be written", room.what,
        human_bytes(room.there.writable_bytes()), room.there.kind, human_bytes(room.needed_bytes)));
    if (std::ranges::find(kOfOneMachine, room.there.kind) != kOfOneMachine.end())
      submission.warnings.push_back(
          fmt::format("{} lies on {}, mostly a file system of one machine: compute nodes must see "
                      "{} and {}",
                      room.what, room.there.kind, config.run, config.data_root));
  }
}

// ---- the script

constexpr std::string_view kBare = "-";  // the value of an option that takes none

using Options = std::vector<std::pair<std::string, std::string>>;  // --name, value; "": leave out

// In a name for logs % begins a pattern.
std::string without_patterns(const fs::path& folder) {
  std::string text;
  for (const char c : folder.string()) text += c == '%' ? std::string("%%") : std::string(1, c);
  return text;
}

Options job_options(const RunConfig& config, const ClusterSite& site, const fs::path& folder,
                    const std::string& script) {
  const SubmitConfig& submit = config.submit;
  // A job of a chain has its successor already: started again by Slurm it would get a second one.
  const bool requeue = site.requeue && script != "chain";
  return {{"--job-name", "refract-" + fs::path(config.run).filename().string()},
          {"--time", slurm_time(walltime_s(submit))},
          {"--signal", fmt::format("B:USR1@{}", submit.signal_s)},
          {"--output", without_patterns(folder) + "/slurm-%j.log"},
          {requeue ? "--requeue" : "--no-requeue", std::string(kBare)}};
}

// Of each component of a heterogeneous job.
Options queue_options(const ClusterSite& site) {
  return {{"--account", site.account},
          {"--partition", site.partition},
          {"--qos", site.qos},
          {"--constraint", site.constraint}};
}

std::string if_set(std::uint64_t number) { return number > 0 ? std::to_string(number) : ""; }

Options node_options(const SubmitConfig& submit, const ClusterSite& site) {
  constexpr std::uint64_t kMiB = 1 << 20;
  const std::uint64_t mib = (submit.memory.value + kMiB - 1) / kMiB;
  Options options{{"--nodes", std::to_string(submit.nodes)},
                  {"--ntasks-per-node", std::to_string(submit.ranks_per_node)},
                  {"--cpus-per-task", if_set(submit.cpus_per_rank)},
                  {"--mem", mib > 0 ? fmt::format("{}M", mib) : ""}};
  if (submit.gpus_per_node == 0) return options;
  // "--gres=gpu:a100" takes ":4", "--gpus-per-node" takes "=4".
  const std::size_t equals = site.gpus.find('=');
  const std::string kind = equals == std::string::npos ? "" : site.gpus.substr(equals + 1) + ":";
  options.emplace_back(site.gpus.substr(0, equals), kind + std::to_string(submit.gpus_per_node));
  return options;
}

Options cpu_node_options(const SubmitConfig& submit) {
  return {{"--nodes", std::to_string(submit.cpu_nodes)},
          {"--ntasks-per-node", std::to_string(submit.cpu_ranks / submit.cpu_nodes)},
          {"--cpus-per-task", if_set(submit.cpus_per_rank)}};
}

Options operator+(Options a, const Options& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// sbatch splits a line at blanks and ends it at '#', except within quotes.
std::string directive(const std::string& name, const std::string& value) {
  if (value == kBare) return fmt::format("#SBATCH {}\n", name);
  const bool plain = value.find_first_of(" \t#'\"\\") == std::string::npos;
  return fmt::format("#SBATCH {}={}\n", name, plain ? value : '"' + value + '"');
}

// "--nodes" of "#SBATCH --nodes=2   # comment", also of one that is commented out; empty: another
// line.
std::string option_of(const std::string& line) {
  constexpr std::string_view kWord = "SBATCH ";
  const std::size_t hashes = line.find_first_not_of('#');
  if (hashes == 0 || hashes == std::string::npos || line.compare(hashes, kWord.size(), kWord) != 0)
    return "";
  const std::size_t begin = line.find_first_not_of(' ', hashes + kWord.size());
  if (begin == std::string::npos) return "";
  return line.substr(begin, line.find_first_of("= ", begin) - begin);
}

// The directives of one component: those of the template that are asked for here get these values,
// others stand as they are, but GPUs and requeue, which are asked for or not; then what is left.
class Directives {
 public:
  Directives(Options options, const ClusterSite& site)
      : options_(std::move(options)), further_(site.sbatch_options) {}

  std::string take(const std::string& line, const std::string& option) {
    for (auto& [name, value] : options_) {
      if (name != option) continue;
      return value.empty() ? "" : directive(name, std::exchange(value, ""));
    }
    constexpr std::array kOurs{"--gpus-per-node", "--gres", "--requeue", "--no-requeue"};
    const bool stands =
        line.starts_with("#SBATCH") && std::ranges::find(kOurs, option) == kOurs.end();
    return stands ? line + "\n" : "";
  }
  [[nodiscard]] std::string rest() const {
    std::string text;
    for (const auto& [name, value] : options_)
      if (!value.empty()) text += directive(name, value);
    if (!further_.empty()) text += "#SBATCH " + further_ + "\n";
    return text;
  }

 private:
  Options options_;
  std::string further_;  // as they stand
};

}  // namespace

std::string slurm_time(double seconds) {
  const auto whole = static_cast<std::uint64_t>(std::ceil(seconds));
  constexpr std::uint64_t kDay_s = 86400;
  const std::string days = whole >= kDay_s ? fmt::format("{}-", whole / kDay_s) : "";
  return fmt::format("{}{:02}:{:02}:{:02}", days, whole % kDay_s / 3600, whole / 60 % 60,
                     whole % 60);
}

Submission check_submission(const RunConfig& config, const ClusterSite& site,
                            const std::string& arguments) {
  Submission submission;
  submission.script = script_of(config, site);
  const SubmitConfig& submit = config.submit;
  const bool het = submission.script == "hetjob";
  submission.ranks =
      static_cast<int>(submit.nodes * submit.ranks_per_node + (het ? submit.cpu_ranks : 0));
  expect_free(config);
  const RunConfig of_job = het ? with_het_roles(config) : config;
  RunPlan plan = plan_run(of_job, submission.ranks, Asks::everything, shape_of(submit, site));
  // Where the layout is left to what the node has, this machine does not know it.
  const bool roles_known = of_job.pipeline.layout != "auto";
  expect_same_run(config, roles_known || submission.ranks < 4
                              ? static_cast<int>(plan.roles.ranks_with(Role::train).size())
                              : 0);
  check_disk(plan.disk, config);
  apply_quota_command(site, plan);
  check_rooms(plan);
  check_memory(config, plan);
  expect_fetched(plan, site, arguments);
  submission.findings.push_back(fmt::format("job: {}.sbatch, {} node(s) x {} rank(s), {}",
                                            submission.script, submit.nodes, submit.ranks_per_node,
                                            slurm_time(walltime_s(submit))));
  submission.findings.push_back(
      fmt::format("memory: up to {} on a node{}", human_bytes(plan.node_bytes()),
                  submit.memory.value > 0 ? " of " + human_bytes(submit.memory.value) : ""));
  warn_of_time(config, plan, submission);
  warn_of_places(config, plan, submission);
  const auto status = read_status(run_folder(config.run, "").status());
  if (status && status->word == "done")
    submission.warnings.push_back(
        fmt::format("the run in {} is done; the job makes only what is missing", config.run));
  return submission;
}

void expect_fetched(const RunPlan& plan, const ClusterSite& site, const std::string& arguments) {
  if (site.internet) return;
  std::size_t missing = 0;
  std::error_code ignored;
  for (const ShardRef& shard : plan.listed.shards)
    if (shard.local.empty() &&
        (plan.listed.folder.empty() || !fs::exists(plan.listed.folder / shard.name, ignored)))
      ++missing;
  if (missing == 0) return;
  const std::string from =
      site.scratch.empty() ? "" : fmt::format("cd {} && ", as_shell_line({site.scratch.string()}));
  throw ConfigError(
      "{} of {} shards are not here yet, and compute nodes have no internet (SITE_INTERNET=no). "
      "First, on a node that has: {}refract download {}{}",
      missing, plan.listed.shards.size(), from, arguments,
      site.download_partition.empty()
          ? ""
          : fmt::format(" (or: sbatch --partition={} jobs/download.sbatch {})",
                        site.download_partition, arguments));
}

std::string job_script(const std::string& from, const RunConfig& config, const ClusterSite& site,
                       const fs::path& folder, const std::string& script) {
  const SubmitConfig& submit = config.submit;
  const Options gpu_nodes = node_options(submit, site);
  Directives directives(job_options(config, site, folder, script) + queue_options(site) +
                            (script == "hetjob" ? cpu_node_options(submit) : gpu_nodes),
                        site);
  enum { before, among, behind } at = before;  // the directives
  std::string text;
  std::istringstream lines(from);
  for (std::string line; std::getline(lines, line);) {
    const std::string option = option_of(line);
    if (!option.empty()) at = among;
    if (option == "hetjob") {
      text += directives.rest() + line + "\n";
      directives = Directives(queue_options(site) + gpu_nodes, site);
    } else if (!option.empty()) {
      text += directives.take(line, option);
    } else if (line.starts_with("jobs=")) {
      text += "jobs=" + as_shell_line({folder.string()}) + "\n" +
              "export REFRACT_SITE=" + as_shell_line({(folder / "site.env").string()}) + "\n";
    } else {
      if (at == among) {
        text += directives.rest() +
                fmt::format("\nexport REFRACT_MAX_ATTEMPTS=${{REFRACT_MAX_ATTEMPTS:-{}}}\n",
                            submit.max_attempts);
        at = behind;
      }
      text += line + "\n";
    }
  }
  return text;
}

}  // namespace refract
