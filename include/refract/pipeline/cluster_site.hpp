#pragma once
// What is peculiar to a cluster: account, modules, launcher, ... one file per site
// (jobs/site/example.env), read here and sourced by the job scripts (jobs/attempt.sh), which hold
// to the same rules: lines KEY=value or KEY="value", blank lines and comments.
#include <filesystem>
#include <string>

namespace refract {

struct ClusterSite {
  std::string account, partition, qos, constraint;
  std::string sbatch_options;  // further ones, as they stand
  std::string modules, setup;
  std::string launcher = "mpirun";  // mpirun | srun
  std::string mpi = "pmix";         // srun --mpi=
  std::string launcher_options, refract;
  std::string gpus = "--gpus-per-node";  // the option that asks for them
  std::filesystem::path scratch;         // where relative paths of a configuration start
  std::string quota_command;             // prints the bytes that may still be written
  bool requeue = true, internet = true;  // of the compute nodes
  std::string download_partition;
};

// ConfigError naming file and line: an unknown key (with those there are), a value that is none.
// What bash would read otherwise than it stands (an unquoted |, a command, a line end of Windows)
// is refused here as there; SITE_SCRATCH is absolute. $NAME in a value is that of the environment,
// except in what bash evaluates later (modules, setup, launcher options, quota command).
[[nodiscard]] ClusterSite read_cluster_site(const std::filesystem::path& file);

}  // namespace refract
