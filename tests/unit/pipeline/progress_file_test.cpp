#include "refract/pipeline/progress_file.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "pipeline/progress_keeper.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/progress.hpp"
#include "unit/base/scratch.hpp"

namespace refract {
namespace {

StageProgress stage(const char* name, std::uint64_t done, std::optional<std::uint64_t> of,
                    std::optional<double> unit_s = {}, double part = 0) {
  return {.stage = name, .done = done, .of = of, .part = part, .unit_s = unit_s};
}

ProgressRecord record() {
  return {.attempt = 3,
          .job = "slurm-4711",
          .host = "node7",
          .hosts = 2,
          .ranks = 8,
          .command = "run",
          .log = "runs/gpt2/submit/slurm-4711.log",
          .started = "2026-11-29T10:00:00Z",
          .time = "2026-11-29T11:00:00Z",
          .ended = false,
          .now = {{.stage = "train",
                   .what = "train 5 of 12",
                   .share = 0.625,
                   .rate = 41200,
                   .unit = "rows"}},
          .stages = {stage("extract", 5, 12, 60), stage("train", 4, 12, 100, 0.625)},
          .overlaps = false,
          .allocation_end = 1'800'000'000,
          .rates = {{"extract", 3000}, {"train", 41200}},
          .disk_max_bytes = 1 << 30,
          .disk = {{"chunks", 1000}, {"records", 24}}};
}

// Waits, at most for as long as a machine may stand still.
template <typename Condition>
bool seen(const Condition& condition) {
  for (int look = 0; look < 60'000; ++look) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return false;
}

TEST(ProgressFile, gives_back_what_was_written) {
  const fs::path file = test::scratch("refract_progress_file") / "progress.json";
  EXPECT_FALSE(read_progress(file));

  write_progress(file, record());

  const auto found = read_progress(file);
  ASSERT_TRUE(found);
  EXPECT_EQ(to_text(*found), to_text(record()));
  EXPECT_EQ(found->now, record().now);
  EXPECT_EQ(found->stages, record().stages);
  EXPECT_EQ(found->disk, record().disk);
  EXPECT_EQ(found->allocation_end, 1'800'000'000);
  EXPECT_FALSE(fs::exists(part_name(file)));
}

TEST(ProgressFile, is_left_where_it_cannot_be_written) {
  write_progress(fs::path(testing::TempDir()) / "refract_no_such_folder" / "progress.json",
                 record());
  SUCCEED();
}

TEST(ProgressFile, that_is_damaged_is_one_line) {
  const fs::path file = test::scratch("refract_progress_damaged") / "progress.json";
  const std::string whole = to_text(record());
  std::string other = whole;
  other.replace(other.find("\"version\": 1"), 12, "\"version\": 9");
  for (const std::string& text : {std::string("{"), std::string(), whole.substr(0, 200),
                                  std::string("[1]"), std::string("{\"schema\":1}"), other}) {
    write_file(file, text);
    try {
      (void)read_progress(file);
      FAIL() << text;
    } catch (const DataError& error) {
      EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
      EXPECT_NE(std::string(error.what()).find(file.string()), std::string::npos);
    }
  }
}

TEST(ShareOfWhole, grows_from_nothing_to_one_over_all_stages) {
  std::vector<StageProgress> stages{stage("download", 0, 2), stage("tokenize", 0, 2),
                                    stage("extract", 0, 4),  stage("train", 0, 4),
                                    stage("evaluate", 0, 2), stage("probe", 0, 2)};
  EXPECT_DOUBLE_EQ(*share_of_whole(stages), 0);
  double before = 0;
  for (StageProgress& each : stages)
    while (each.done < *each.of) {
      each.part = 0.5;
      const double half = *share_of_whole(stages);
      EXPECT_GT(half, before);
      each.part = 0;
      ++each.done;
      EXPECT_GT(*share_of_whole(stages), half);
      before = *share_of_whole(stages);
    }
  EXPECT_DOUBLE_EQ(before, 1);
}

TEST(ShareOfWhole, is_of_the_stages_of_the_command_alone) {
  EXPECT_DOUBLE_EQ(*share_of_whole({stage("extract", 2, 4), stage("train", 2, 4)}), 0.5);
  EXPECT_FALSE(share_of_whole({stage("extract", 2, {}), stage("train", 0, {})}));
  EXPECT_FALSE(share_of_whole({}));
}

TEST(TimeLeft, is_not_known_before_chunks_were_extracted_and_trained) {
  EXPECT_FALSE(time_left({stage("extract", 0, 4), stage("train", 0, 4)}, false));
  EXPECT_FALSE(time_left({stage("extract", 1, 4, 10), stage("train", 0, 4)}, false));
  EXPECT_FALSE(time_left({stage("extract", 1, {}, 10), stage("train", 0, {}, 10)}, false));
}

TEST(TimeLeft, goes_as_far_as_the_pace_is_known_and_says_how_far) {
  std::vector<StageProgress> stages{stage("download", 1, 2), stage("extract", 2, 4, 10),
                                    stage("train", 1, 4, 5, 0.5), stage("evaluate", 0, 2),
                                    stage("probe", 0, 2)};
  auto left = time_left(stages, false);
  ASSERT_TRUE(left);
  EXPECT_DOUBLE_EQ(left->seconds, 2 * 10 + 2.5 * 5);
  EXPECT_EQ(left->until, "train");

  left = time_left(stages, true);  // beside each other: the longer counts
  EXPECT_DOUBLE_EQ(left->seconds, 20);

  stages[3].unit_s = 7;
  left = time_left(stages, false);
  EXPECT_DOUBLE_EQ(left->seconds, 32.5 + 14);
  EXPECT_EQ(left->until, "evaluate");

  stages[4].unit_s = 1;
  left = time_left(stages, false);
  EXPECT_DOUBLE_EQ(left->seconds, 32.5 + 14 + 2);
  EXPECT_EQ(left->until, "");
}

TEST(TimeLeft, of_a_command_that_ends_with_training_ends_there) {
  const auto left = time_left({stage("extract", 4, 4), stage("train", 3, 4, 5)}, false);
  ASSERT_TRUE(left);
  EXPECT_DOUBLE_EQ(left->seconds, 5);
  EXPECT_EQ(left->until, "");
}

TEST(DiskUse, is_by_what_the_files_are_for) {
  const fs::path run = test::scratch("refract_disk_use");
  const auto put = [&](const char* name, std::size_t bytes) {
    make_folder((run / name).parent_path());
    write_file(run / name, std::string(bytes, 'x'));
  };
  put("m_activations/chunk-000000.h5", 1);
  put("m_activations/chunk-000001.h5", 2);
  put("m_activations/heldout.h5", 4);
  put("m_activations/evidence.h5", 8);
  put("saes/a/checkpoints/chunk-000000/trainer_state.safetensors", 16);
  put("saes/a/latest/sae_weights.safetensors", 32);
  put("features/a.h5", 64);
  put("report.html", 128);
  put("ledger.jsonl", 256);

  const DiskUse expected{{"SAELens folders", 32},      {"chunks", 3},        {"evidence rows", 8},
                         {"features and report", 192}, {"held-out rows", 4}, {"records", 256},
                         {"trainer states", 16}};
  EXPECT_EQ(disk_use_of_run(run), expected);
  EXPECT_TRUE(disk_use_of_run(run / "absent").empty());
}

TEST(ProgressKeeper, writes_at_once_at_a_change_of_stage_and_marks_the_end) {
  const fs::path file = test::scratch("refract_progress_keeper") / "progress.json";
  constexpr ProgressTimes kSeldom{.interval_s = 1e6, .shortest_s = 0, .disk_interval_s = 1e6};
  {
    ProgressKeeper keeper(
        file, record(), [] {}, kSeldom);
    EXPECT_TRUE(read_progress(file));
    keeper.at_work("evaluate", "evaluate 1 of 2");
    Progress bar("evaluate big: held-out rows", 8, "rows", true);
    bar.advance(2);
    keeper.at_work("evaluate", "evaluate 2 of 2");
    EXPECT_TRUE(seen([&] {
      return read_progress(file)->now.front().what == "evaluate 2 of 2: big: held-out rows";
    }));
    const WorkPiece piece = read_progress(file)->now.front();
    EXPECT_EQ(piece.share, 0.25);
    EXPECT_EQ(piece.unit, "rows");
    EXPECT_TRUE(piece.rate);
    EXPECT_FALSE(read_progress(file)->ended);
  }
  EXPECT_TRUE(read_progress(file)->ended);
}

TEST(ProgressKeeper, knows_the_pace_of_parts_from_those_done_since_it_began) {
  const fs::path file = test::scratch("refract_progress_parts") / "progress.json";
  ProgressRecord begin = record();
  begin.stages.push_back(stage("probe", 0, 3));
  {
    ProgressKeeper keeper(file, begin, [] {});
    keeper.parts_done("probe", 1);  // of an attempt before
    keeper.parts_done("probe", 2);
  }
  const StageProgress probe = read_progress(file)->stages.back();
  EXPECT_EQ(probe.done, 2u);
  EXPECT_TRUE(probe.unit_s);
}

TEST(ProgressKeeper, writes_nothing_once_the_run_is_another_jobs) {
  const fs::path file = test::scratch("refract_progress_lost") / "progress.json";
  ProgressKeeper keeper(file, record(), [] { throw SystemError("taken over"); });
  keeper.at_work("report", "report");
  EXPECT_FALSE(fs::exists(file));
}

TEST(CurrentBar, is_the_innermost_that_has_a_label) {
  EXPECT_FALSE(current_bar());
  const Progress outer("extract 1 of 2", 10, "rows", true);
  {
    Progress inner("", 10, "rows", true);
    EXPECT_EQ(current_bar()->label, "extract 1 of 2");
    Progress innermost("probe", 10, "documents", true);
    innermost.advance(3);
    EXPECT_EQ(current_bar()->unit, "documents");
    EXPECT_EQ(current_bar()->done, 3u);
    innermost.finish();
    EXPECT_EQ(current_bar()->label, "extract 1 of 2");
  }
}

}  // namespace
}  // namespace refract
