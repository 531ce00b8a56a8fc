// `refract submit`: checks, writes the script into the run's folder, hands it to sbatch.
#include <fmt/format.h>

#include <cstdlib>

#include "app/commands.hpp"
#include "refract/base/build_info.hpp"
#include "refract/base/command.hpp"
#include "refract/base/file.hpp"
#include "refract/base/machine.hpp"
#include "refract/base/progress.hpp"
#include "refract/pipeline/run_config.hpp"
#include "refract/pipeline/run_folder.hpp"
#include "refract/pipeline/submission.hpp"

namespace refract {
namespace {

// The scripts: REFRACT_JOBS, or those installed or checked out with this program.
fs::path jobs_folder() {
  std::error_code ignored;
  const auto has_scripts = [&](const fs::path& folder) {
    return fs::exists(folder / "attempt.sh", ignored);
  };
  if (const char* given = std::getenv("REFRACT_JOBS")) {
    if (has_scripts(given)) return given;
    throw ConfigError(
        "REFRACT_JOBS is '{}', which holds no attempt.sh; unset it, or name the "
        "folder of refract's job scripts",
        given);
  }
  const fs::path self = this_program();
  for (fs::path at = self.parent_path(); at != at.root_path(); at = at.parent_path())
    for (const fs::path& folder : {at / "share" / "refract" / "jobs", at / "jobs"})
      if (has_scripts(folder)) return folder;
  throw ConfigError(
      "refract's job scripts are neither beside this program nor in share/refract/jobs. Name "
      "their folder: REFRACT_JOBS=...");
}

// Empty: none.
std::string site_file(const CommandLine& line) {
  const char* from_env = std::getenv("REFRACT_SITE");
  return !line.site.empty() ? line.site : from_env ? from_env : "";
}

std::string site_text(const std::string& file, const ClusterSite& site) {
  std::string text = file.empty() ? "" : read_file(file);
  if (!text.empty() && text.back() != '\n') text += '\n';
  if (site.refract.empty())
    text += "# The program that submitted.\nSITE_REFRACT=\"" + this_program() + "\"\n";
  return text;
}

std::string config_text(const RunConfig& config) {
  return fmt::format(
      "# Resolved at submission by refract {}; each start of the job reads this.\n{}", kVersion,
      to_yaml(config));
}

std::string sbatch(const std::vector<std::string>& words) {
  constexpr double kPatience_s = 120;
  if (in_path("sbatch").empty())
    throw SystemError(
        "there is no sbatch in PATH: submit on a login node of the cluster. --print shows the "
        "script.");
  const auto answer = ask(words, kPatience_s);
  if (!answer)
    throw SystemError(
        "sbatch did not answer within {:.0f} s; `squeue --me` says whether the job was taken",
        kPatience_s);
  const std::string text = answer->text.substr(0, answer->text.find_last_not_of('\n') + 1);
  if (answer->code != 0)
    throw SystemError("sbatch refused the job: {} (its options are in submit: and the site file)",
                      text);
  // "4711" or "4711;cluster", perhaps behind a site's words.
  const std::string last = text.substr(text.rfind('\n') + 1);
  return last.substr(0, last.find(';'));
}

void say_all(const Submission& submission) {
  for (const std::string& finding : submission.findings) say(finding);
  for (const std::string& warning : submission.warnings) warn(warning);
}

}  // namespace

ExitCode submit_command(const CommandLine& line) {
  const RunConfig config = config_of(line);
  const std::string file = site_file(line);
  const ClusterSite site = file.empty() ? ClusterSite{} : read_cluster_site(file);
  const std::string text_of_site = site_text(file, site);
  const fs::path jobs = fs::absolute(jobs_folder());
  std::vector<std::string> words{fs::absolute(line.arguments.front()).string()};
  for (const std::string& setting : line.overrides) words.insert(words.end(), {"--set", setting});
  const std::string arguments = as_shell_line(words);
  if (!site.scratch.empty()) {  // where the job's relative paths start from
    std::error_code failed;
    fs::current_path(site.scratch, failed);
    if (failed)
      throw ConfigError("SITE_SCRATCH is '{}': {}", site.scratch.string(), failed.message());
  }
  const Submission submission = check_submission(config, site, arguments);
  const fs::path folder = fs::absolute(run_folder(config.run, "").submission());
  const std::string script = job_script(read_file(jobs / (submission.script + ".sbatch")), config,
                                        site, folder, submission.script);
  if (line.print) {
    fmt::print("{}", script);
    for (const std::string& warning : submission.warnings) warn(warning);
    return ExitCode::ok;
  }
  say_all(submission);
  make_folder(folder);
  write_file(folder / "attempt.sh", read_file(jobs / "attempt.sh"));
  write_file(folder / "site.env", text_of_site);
  write_file(folder / "config.yaml", config_text(config));
  write_file(folder / "job.sbatch", script);
  const std::string job = sbatch({"sbatch", "--parsable", (folder / "job.sbatch").string(),
                                  (folder / "config.yaml").string()});
  write_file(run_folder(config.run, "").submitted_job(), "slurm-" + job + "\n");
  say(fmt::format("submitted: job {}, script {}", job, (folder / "job.sbatch").string()));
  say(fmt::format("watch it:  refract status {} --watch",
                  as_shell_line({fs::absolute(config.run).string()})));
  say(fmt::format("its log:   {}", (folder / fmt::format("slurm-{}.log", job)).string()));
  // With mpirun on several nodes a plain scancel often reaches the ranks' launchers first.
  if (site.launcher == "mpirun" && config.submit.nodes > 1)
    say(fmt::format(
        "stop it:   scontrol update jobid={} requeue=0 && scancel --batch --signal=USR1 {}", job,
        job));
  else
    say(fmt::format("stop it:   scancel {}   (with a checkpoint; submit again to go on)", job));
  return ExitCode::ok;
}

}  // namespace refract
