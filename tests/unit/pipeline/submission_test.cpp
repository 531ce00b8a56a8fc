#include "refract/pipeline/submission.hpp"

#include <gtest/gtest.h>

#include <cstdlib>

#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "unit/base/scratch.hpp"

namespace refract {
namespace {

const std::string kTemplate =
    "#!/bin/bash\n# What it is for.\n\n#SBATCH --job-name=refract\n#SBATCH --nodes=2   # nodes\n"
    "##SBATCH --gpus-per-node=4\n##SBATCH --mem=0\n#SBATCH --cpus-per-task=8\n"
    "#SBATCH --time=04:00:00\n#SBATCH --requeue\n#SBATCH --open-mode=append\n\n"
    "jobs=${REFRACT_JOBS:-jobs}\nsource \"$jobs/attempt.sh\"\nattempt_begin \"$@\"\n";

RunConfig config_with(const SubmitConfig& submit) {
  RunConfig config;
  config.run = "runs/study";
  config.submit = submit;
  return config;
}

bool holds(const std::string& text, const std::string& line) {
  return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

TEST(JobScript, has_the_resources_that_are_asked_for_and_keeps_the_rest) {
  SubmitConfig submit;
  submit.nodes = 3;
  submit.time = "36h";
  submit.memory.value = std::uint64_t{64} << 30;
  submit.gpus_per_node = 2;
  submit.max_attempts = 7;
  ClusterSite site;
  site.account = "physics";
  site.sbatch_options = "--exclusive --comment='a b'";

  const std::string script =
      job_script(kTemplate, config_with(submit), site, "/scratch/my 5% run/submit", "multi-node");

  for (const char* line :
       {"#SBATCH --job-name=refract-study", "#SBATCH --nodes=3", "#SBATCH --gpus-per-node=2",
        "#SBATCH --mem=65536M", "#SBATCH --time=1-12:00:00", "#SBATCH --requeue",
        "#SBATCH --open-mode=append", "#SBATCH --account=physics",
        "#SBATCH --exclusive --comment='a b'", "#SBATCH --signal=B:USR1@300",
        "#SBATCH --output=\"/scratch/my 5%% run/submit/slurm-%j.log\"",
        "jobs='/scratch/my 5% run/submit'",
        "export REFRACT_SITE='/scratch/my 5% run/submit/site.env'",
        "export REFRACT_MAX_ATTEMPTS=${REFRACT_MAX_ATTEMPTS:-7}"})
    EXPECT_TRUE(holds(script, line)) << line << "\n" << script;
  EXPECT_EQ(script.find("--cpus-per-task"), std::string::npos) << "left to the site";
  EXPECT_EQ(script.find("--partition"), std::string::npos);
  EXPECT_LT(script.find("--exclusive"), script.find("jobs=")) << "Slurm reads no further";
}

TEST(JobScript, asks_for_gpus_as_the_site_has_it_and_for_no_requeue_where_it_forbids_it) {
  SubmitConfig submit;
  submit.gpus_per_node = 4;
  ClusterSite site;
  site.gpus = "--gres=gpu:a100";
  site.requeue = false;

  const std::string script = job_script(kTemplate, config_with(submit), site, "/r", "chain");

  EXPECT_TRUE(holds(script, "#SBATCH --gres=gpu:a100:4")) << script;
  EXPECT_EQ(script.find("--gpus-per-node"), std::string::npos);
  EXPECT_TRUE(holds(script, "#SBATCH --no-requeue"));
  EXPECT_FALSE(holds(script, "#SBATCH --requeue"));
}

TEST(JobScript, asks_for_no_requeue_in_a_chain_whose_next_job_waits_already) {
  const std::string script = job_script(kTemplate, config_with({}), ClusterSite{}, "/r", "chain");

  EXPECT_TRUE(holds(script, "#SBATCH --no-requeue")) << script;
  EXPECT_FALSE(holds(script, "#SBATCH --requeue"));
}

TEST(JobScript, gives_each_component_of_a_hetjob_its_own) {
  SubmitConfig submit;
  submit.nodes = 2;
  submit.ranks_per_node = 4;
  submit.cpu_ranks = 3;
  submit.gpus_per_node = 4;
  ClusterSite site;
  site.partition = "gpu";
  const std::string two =
      "#!/bin/bash\n#SBATCH --time=1\n#SBATCH --nodes=1\n#SBATCH --ntasks-per-node=2\n"
      "#SBATCH hetjob\n#SBATCH --nodes=1\n#SBATCH --ntasks-per-node=4\n\njobs=x\n";

  const std::string script = job_script(two, config_with(submit), site, "/r", "hetjob");

  const std::size_t between = script.find("#SBATCH hetjob\n");
  ASSERT_NE(between, std::string::npos);
  const std::string first = script.substr(0, between), second = script.substr(between);
  EXPECT_TRUE(holds(first, "#SBATCH --ntasks-per-node=3")) << script;
  EXPECT_EQ(first.find("gpus"), std::string::npos);
  EXPECT_TRUE(holds(second, "#SBATCH --nodes=2"));
  EXPECT_TRUE(holds(second, "#SBATCH --gpus-per-node=4"));
  EXPECT_TRUE(holds(first, "#SBATCH --partition=gpu") && holds(second, "#SBATCH --partition=gpu"));
  EXPECT_EQ(second.find("--time"), std::string::npos) << "of the whole job, once";
}

TEST(SlurmTime, has_days_where_there_are_any) {
  EXPECT_EQ(slurm_time(59.5), "00:01:00");
  EXPECT_EQ(slurm_time(14400), "04:00:00");
  EXPECT_EQ(slurm_time(129630), "1-12:00:30");
}

class Sites : public testing::Test {
 protected:
  ClusterSite site(const std::string& text) {
    write_file(file_, text);
    return read_cluster_site(file_);
  }
  std::string refusal(const std::string& text) {
    try {
      (void)site(text);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "";
  }

 private:
  fs::path file_ = test::scratch("refract_site") / "x.env";
};

TEST_F(Sites, are_read_as_bash_reads_them) {
  ::setenv("REFRACT_TEST_NAME", "me", 1);
  const ClusterSite found = site(
      "# a comment\n\nSITE_ACCOUNT=physics\nSITE_SCRATCH=\"/scratch/$REFRACT_TEST_NAME/${"
      "REFRACT_TEST_NAME}s\"\nSITE_SBATCH_OPTIONS=\"--exclusive --mail-type=FAIL\"\n"
      "SITE_LAUNCHER=srun\nSITE_REQUEUE=no\nSITE_MPI=\nSITE_SETUP=\"export A=$HOME\"\n");
  EXPECT_EQ(found.account, "physics");
  EXPECT_EQ(found.scratch, "/scratch/me/mes");
  EXPECT_EQ(found.sbatch_options, "--exclusive --mail-type=FAIL");
  EXPECT_EQ(found.launcher, "srun");
  EXPECT_FALSE(found.requeue);
  EXPECT_TRUE(found.internet);
  EXPECT_EQ(found.mpi, "pmix") << "an empty value is the default";
  EXPECT_EQ(found.setup, "export A=$HOME") << "bash evaluates it when the job runs";
}

TEST_F(Sites, with_a_mistake_are_refused_with_its_line) {
  EXPECT_NE(refusal("\nSITE_ACOUNT=x\n").find("x.env:2: no key 'SITE_ACOUNT'; there are SITE_A"),
            std::string::npos);
  EXPECT_NE(refusal("module load gcc\n").find("x.env:1: 'module load gcc' is neither"),
            std::string::npos);
  EXPECT_NE(refusal("SITE_MODULES=gcc openmpi\n").find("neither"), std::string::npos);
  EXPECT_NE(refusal("SITE_CONSTRAINT=a100|h100\n").find("neither"), std::string::npos);
  EXPECT_NE(refusal("SITE_ACCOUNT=x\r\n").find("neither"), std::string::npos);
  EXPECT_NE(refusal("SITE_ACCOUNT=\"$(id -gn)\"\n").find("holds a command"), std::string::npos);
  EXPECT_NE(refusal("SITE_SCRATCH=scratch\n").find("from / on"), std::string::npos);
  EXPECT_NE(refusal("SITE_REQUEUE=maybe\n").find("expected yes or no"), std::string::npos);
  EXPECT_NE(refusal("SITE_LAUNCHER=aprun\n").find("expected mpirun or srun"), std::string::npos);
}

TEST(Proposal, keeps_the_slices_of_a_batch) {
  RunConfig config;
  config.store.chunk_rows = 131072;
  config.store.block_rows = 1024;
  config.train.batch_rows = 4096;  // 128 blocks, slices of 32 rows

  const ChunkProposal fits = propose_chunk(config, 100, 300);
  EXPECT_EQ(fits.chunk_rows, 131072);
  const ChunkProposal smaller = propose_chunk(config, 1000, 1000);
  EXPECT_EQ(smaller.chunk_rows, 32768);
  EXPECT_EQ(smaller.block_rows, 256);
  EXPECT_EQ(propose_chunk(config, 1e6, 1).chunk_rows, 0) << "no smaller one has whole slices";
}

TEST(Room, of_a_folder_to_come_is_that_of_its_nearest_parent) {
  const FileSystemRoom here = room_at("."), to_come = room_at("no/such/folder");
  EXPECT_GT(here.free_bytes, 0U);
  EXPECT_EQ(here.device, to_come.device);
  EXPECT_EQ(here.kind, to_come.kind);
  EXPECT_NE(here.kind, "");
}

TEST(Room, without_space_is_refused_with_what_is_needed) {
  RunPlan plan;
  plan.rooms.push_back({"the run",
                        std::uint64_t{2} << 30,
                        {.kind = "nfs",
                         .device = 1,
                         .free_bytes = std::uint64_t{8} << 30,
                         .quota_left_bytes = 1 << 30}});
  try {
    check_rooms(plan);
    FAIL() << "a quota was ignored";
  } catch (const SystemError& error) {
    EXPECT_NE(std::string(error.what()).find("takes 1.0 GiB more of your quota"), std::string::npos)
        << error.what();
  }
  plan.rooms.front().there.quota_left_bytes.reset();
  EXPECT_NO_THROW(check_rooms(plan));
}

TEST(Submission, without_internet_asks_for_the_shards_first_and_says_how) {
  const fs::path folder = test::scratch("refract_fetched");
  write_file(folder / "a.jsonl", "x");
  write_file(folder / "c.jsonl", "x");
  RunPlan plan;
  plan.listed.folder = folder;
  for (const char* name : {"a.jsonl", "b.jsonl", "c.jsonl"})
    plan.listed.shards.emplace_back().name = name;
  plan.listed.shards[2].local = folder / "c.jsonl";
  ClusterSite site;
  EXPECT_NO_THROW(expect_fetched(plan, site, "x.yaml")) << "the job fetches what is missing";
  site.internet = false;
  site.download_partition = "transfer";
  try {
    expect_fetched(plan, site, "x.yaml");
    FAIL() << "a shard that is nowhere was let through";
  } catch (const ConfigError& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("1 of 3 shards"), std::string::npos) << text;
    EXPECT_NE(text.find("refract download x.yaml"), std::string::npos) << text;
    EXPECT_NE(text.find("sbatch --partition=transfer jobs/download.sbatch x.yaml"),
              std::string::npos)
        << text;
  }
  write_file(folder / "b.jsonl", "x");
  EXPECT_NO_THROW(expect_fetched(plan, site, "x.yaml"));
}

}  // namespace
}  // namespace refract
