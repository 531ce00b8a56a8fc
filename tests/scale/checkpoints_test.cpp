// The work for a checkpoint does not grow with the number of those before; a start reads the ledger
// and metrics.jsonl once, lists each folder once, and opens what the newest checkpoint holds.
// Counted, not timed: file_operations.hpp.
#include "refract/pipeline/checkpoints.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "pipeline/checkpoint_files.hpp"
#include "scale/file_operations.hpp"
#include "support/checkpoint_run.hpp"

namespace refract {
namespace {

using test::file_operations;
using test::FileOperations;
using testing_support::CheckpointRun;

constexpr std::uint64_t kVisits = 10'000;

// A folder in memory where there is one: what is counted is the same, and it is made sooner.
fs::path scratch(const std::string& name) {
  const fs::path memory = "/dev/shm";
  const fs::path folder = (fs::exists(memory) ? memory : fs::path(::testing::TempDir())) /
                          (name + "-" + std::to_string(::getpid()));
  fs::remove_all(folder);
  return folder;
}

// A run that `visits` chunks were trained on, each then evicted, as it is on disk. Folders of the
// two newest checkpoints have their files, the others state.json as a name alone: nobody is to open
// it.
class LongRun {
 public:
  LongRun(const std::string& name, std::uint64_t visits)
      : root_(scratch(name)), run_(root_, kVisits, "5") {
    std::ofstream ledger(run_.folder().ledger(), std::ios::app);
    std::vector<MetricsLog> metrics;
    std::vector<std::ofstream> files;
    for (const SaeConfig& sae : run_.config().saes) {
      metrics.emplace_back(run_.folder().metrics(sae.name));
      files.emplace_back(run_.folder().metrics(sae.name));
    }
    for (std::uint64_t visit = 0; visit < visits; ++visit) {
      const std::string line = CheckpointRun::metrics_line(visit);
      const std::uint64_t chunk = visit;
      ledger << fmt::format("{{\"event\":\"planned\",\"chunk\":{},\"rows\":64}}\n", chunk)
             << fmt::format(
                    "{{\"event\":\"sealed\",\"chunk\":{},\"rows\":64,\"bytes\":1000,\"digest\":"
                    "\"d\"}}\n",
                    chunk);
      for (std::size_t i = 0; i < metrics.size(); ++i) {
        metrics[i].add(line);
        files[i] << line << '\n';
        TrainedSae& sae = run_.saes()[i];
        const fs::path folder = run_.checkpoint(sae.config.name, visit);
        make_folder(folder);
        SaeCheckpoint digests{"w", "s"};
        if (visit + 2 < visits)
          std::ofstream(folder / "state.json");
        else
          write_newest(folder, sae, visit, metrics[i].mark(), digests);
        ledger << fmt::format(
            "{{\"event\":\"checkpointed\",\"visit\":{},\"sae\":\"{}\",\"steps_in_visit\":0,"
            "\"complete\":true,\"folder\":\"{}\",\"store\":\"store\",\"weights\":\"{}\","
            "\"state\":\"{}\"}}\n",
            visit, sae.config.name, chunk_name(visit), digests.weights, digests.state);
      }
      if (visit > 0) ledger << fmt::format("{{\"event\":\"evicted\",\"chunk\":{}}}\n", visit - 1);
    }
    ledger.close();
    for (std::ofstream& file : files) file.close();
  }
  ~LongRun() { fs::remove_all(root_); }

  FileOperations start() {
    const FileOperations before = file_operations();
    const Checkpoints::Restored restored = run_.start();
    EXPECT_TRUE(restored.withdrawn.empty());
    return file_operations() - before;
  }
  // What checkpoints and ledger do for one chunk.
  FileOperations chunk() {
    const std::uint64_t visit = run_.position().visit;
    run_.train();
    const FileOperations before = file_operations();
    run_.ledger().planned(visit, 64);
    run_.ledger().sealed(visit, {"digest", 64, 1000});
    run_.save_chunk();
    run_.settle();
    EXPECT_EQ(run_.ledger().state().visits_done({"a", "b"}), visit + 1);
    run_.ledger().evicted(visit);
    return file_operations() - before;
  }
  [[nodiscard]] std::uint64_t visit() const { return run_.position().visit; }

 private:
  void write_newest(const fs::path& folder, TrainedSae& sae, std::uint64_t visit,
                    const MetricsMark& mark, SaeCheckpoint& digests) {
    CheckpointFacts facts;
    facts.position.visit = visit + 1;
    facts.position.store_running = "store";
    facts.training_digest = "training " + sae.config.name;
    facts.metrics_line = CheckpointRun::metrics_line(visit);
    facts.metrics = mark;
    (void)collective_write_checkpoint_files(folder, sae, facts, run_.runner(), digests);
  }

  fs::path root_;
  CheckpointRun run_;
};

void expect_same_work(const FileOperations& early, const FileOperations& late) {
  EXPECT_EQ(late.opened, early.opened);
  EXPECT_EQ(late.renamed, early.renamed);
  EXPECT_EQ(late.listed, early.listed);
  EXPECT_EQ(late.looked_at, early.looked_at);
}

TEST(CheckpointsAtScale, do_the_same_work_for_chunk_9900_as_for_chunk_100) {
  LongRun early("early", 100), late("late", 9'900);
  early.start();
  late.start();
  for (int i = 0; i < 5; ++i) {
    const FileOperations first = early.chunk(), last = late.chunk();

    expect_same_work(first, last);
    EXPECT_GT(first.opened, 10u) << "the seam counts";
    EXPECT_GT(first.renamed, 4u) << "the seam counts";
    EXPECT_GT(first.allocated, 100u) << "the seam counts";
    // Keys and folder names are a digit longer; the list of records, copied once, would be 50,000.
    EXPECT_LT(last.allocated, first.allocated + 100);
  }
  EXPECT_EQ(late.visit(), 9'905u);
}

TEST(CheckpointsAtScale, a_start_opens_the_same_files_and_lists_each_folder_once) {
  LongRun early("early_start", 100), late("late_start", 9'900);
  early.start();  // applies checkpoint.keep to what is there, once
  late.start();

  const FileOperations first = early.start(), last = late.start();

  EXPECT_EQ(last.opened, first.opened);
  EXPECT_EQ(last.renamed, first.renamed);
  EXPECT_EQ(last.looked_at, first.looked_at);
  const std::uint64_t folders = 2 * (9'900 - 100);
  EXPECT_GE(last.listed, first.listed + folders);
  EXPECT_LE(last.listed, first.listed + folders + 8);
}

}  // namespace
}  // namespace refract
