#pragma once
// All that can be said of a run before it starts, for any number of ranks: the dry run prints it,
// `refract submit` checks a job by it. Writes nothing.
#include <cstdint>
#include <string>

#include "refract/base/file_system.hpp"
#include "refract/pipeline/disk_plan.hpp"
#include "refract/pipeline/preflight.hpp"
#include "refract/pipeline/rank_plan.hpp"
#include "refract/pipeline/schedule.hpp"
#include "refract/pipeline/time_plan.hpp"
#include "refract/pipeline/training_plan.hpp"
#include "refract/stages/download.hpp"

namespace refract {

// What is still to be written to one file system, and what it takes.
struct Room {
  std::string what;  // "the run", "data_root", or both
  std::uint64_t needed_bytes = 0;
  FileSystemRoom there;
  [[nodiscard]] bool suffices() const { return needed_bytes <= there.writable_bytes(); }
};

struct RunPlan {
  int ranks = 1, ranks_per_node = 1;
  DownloadPlan listed;
  KnownBefore known;
  CorpusSize corpus;              // estimated where it is not tokenized yet
  std::uint64_t shard_bytes = 0;  // of the source's listing
  RolePlan roles;
  // Not with Asks::corpus:
  TrainingPlan training;
  bool exact = false;  // the rows are known, or asked for by number
  DiskPlan disk;
  RankPlan rank;
  Rates rates;
  TimePlan time;
  std::vector<Room> rooms;

  [[nodiscard]] std::uint64_t node_bytes() const;  // memory of the node that holds most
};

// Of a job that does not start here.
struct JobShape {
  int ranks_per_node = 0;  // 0: the ranks divided over submit.nodes
  int cores = 0;           // that a rank sees, for the layout; 0: those of this machine
};

// Throws what check_before_start throws. Times a product for a fraction of a second, unless
// submit.gflops is given.
[[nodiscard]] RunPlan plan_run(const RunConfig& config, int ranks, Asks asks = Asks::everything,
                               const JobShape& shape = {});

// SystemError when a file system has no room for what the plan still writes there.
void check_rooms(const RunPlan& plan);

}  // namespace refract
