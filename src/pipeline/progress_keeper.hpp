#pragma once
// Keeps <run>/progress.json: whoever knows how far the run is tells it here, and a thread writes
// it, so that a slow file system never holds up the work.
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>

#include "refract/pipeline/progress_file.hpp"

namespace refract {

// Where this job's output goes: REFRACT_LOG (of the job script or of `--ranks`), else the file that
// stdout is; empty: neither.
[[nodiscard]] std::string log_of_this_job();

struct ProgressTimes {  // shorter in tests
  double interval_s = 3;
  double shortest_s = 0.5;      // between two, however fast the chunks go by
  double disk_interval_s = 60;  // and never more than a fiftieth of the time goes into looking
};

class ProgressKeeper {
 public:
  // Writes at once. expect_own throws when the run is another job's: nothing is written then.
  ProgressKeeper(std::filesystem::path file, ProgressRecord begin, std::function<void()> expect_own,
                 const ProgressTimes& times = {});
  ~ProgressKeeper();  // the last one, marked ended
  ProgressKeeper(const ProgressKeeper&) = delete;

  // Any thread. A change of what is at work is written at once, anything else within the interval.
  void update(const std::function<void(ProgressRecord&)>& change);
  // Nothing but this is at work. How far it is and how fast, the innermost bar of the process says,
  // where the stage has bars of its own.
  void at_work(std::string stage, std::string what);
  // So many of a stage's SAEs are done; seconds for one follow from those done since the first
  // call.
  void parts_done(const std::string& stage, std::uint64_t done);
  // What is known without looking: shards and tokens, which lie outside the run's folder, and the
  // sealed chunks.
  void disk_known(std::uint64_t corpus_bytes, std::uint64_t chunk_bytes);

 private:
  void keep(const std::stop_token& stop);
  [[nodiscard]] bool look_at_disk();  // when it is due
  [[nodiscard]] ProgressRecord present();
  void write();

  std::filesystem::path file_;
  std::function<void()> expect_own_;
  ProgressTimes times_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  ProgressRecord record_;
  std::string parts_of_;  // the stage that is counted in parts
  std::uint64_t parts_before_ = 0, corpus_bytes_ = 0, chunk_bytes_ = 0;
  double parts_since_s_ = 0;
  bool news_ = false;
  DiskUse disk_;  // the thread's own, as are these
  double look_again_s_ = 0, disk_took_s_ = 0, last_s_ = 0;
  std::jthread thread_;
};

}  // namespace refract
