#pragma once
// A batch job of a run: what is checked before it is asked for, and the script. Resources come from
// `submit:` and from the site; how an attempt goes, is stopped and asked for again is in the
// scripts of jobs/, which are the templates.
#include <filesystem>
#include <string>
#include <vector>

#include "refract/pipeline/cluster_site.hpp"
#include "refract/pipeline/run_config.hpp"
#include "refract/pipeline/run_plan.hpp"

namespace refract {

struct Submission {
  std::string script;                 // single-node | multi-node | hetjob | chain
  int ranks = 1;                      // of the whole job
  std::vector<std::string> findings;  // what the check found, a line each
  std::vector<std::string> warnings;  // what will probably go wrong or slowly, and what to do
};

// Looks at everything that can be known on a login node. Throws what would stop the job: what
// plan_run, expect_same_run and check_disk throw; SystemError for a file system or quota without
// room, or a run that a job has already (running or in the queue); ConfigError for memory below
// what a node needs, and what expect_fetched throws. config_file: as it is to be named in such a
// command.
[[nodiscard]] Submission check_submission(const RunConfig& config, const ClusterSite& site,
                                          const std::string& arguments);

// ConfigError where shards of the plan lie nowhere on this machine and compute nodes have no
// internet.
void expect_fetched(const RunPlan& plan, const ClusterSite& site, const std::string& arguments);

// The script of jobs/ with the resources of `config` and `site`. Lines "#SBATCH --option..." of the
// template are replaced, dropped or kept; what it lacks is added. folder: RunFolder::submission,
// absolute.
[[nodiscard]] std::string job_script(const std::string& from, const RunConfig& config,
                                     const ClusterSite& site, const std::filesystem::path& folder,
                                     const std::string& script);

// 4-12:00:00, as Slurm writes a time.
[[nodiscard]] std::string slurm_time(double seconds);

}  // namespace refract
