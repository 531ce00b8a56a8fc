#include "pipeline/progress_keeper.hpp"

#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/progress.hpp"
#include "refract/pipeline/ledger.hpp"

namespace refract {

std::string log_of_this_job() {
  if (const char* told = std::getenv("REFRACT_LOG"); told && *told) return told;
  return stdout_file();
}

ProgressKeeper::ProgressKeeper(fs::path file, ProgressRecord begin,
                               std::function<void()> expect_own, const ProgressTimes& times)
    : file_(std::move(file)),
      expect_own_(std::move(expect_own)),
      times_(times),
      record_(std::move(begin)) {
  write();
  thread_ = std::jthread([this](const std::stop_token& stop) { keep(stop); });
}

ProgressKeeper::~ProgressKeeper() {
  thread_.request_stop();
  thread_.join();
  constexpr double kQuick_s = 0.5;
  if (disk_took_s_ < kQuick_s) disk_ = disk_use_of_run(file_.parent_path());
  record_.ended = true;
  write();
}

void ProgressKeeper::update(const std::function<void(ProgressRecord&)>& change) {
  const std::lock_guard lock(mutex_);
  const auto names = [](const ProgressRecord& record) {
    std::string text;
    for (const WorkPiece& piece : record.now) text += piece.what + "\n";
    return text;
  };
  const std::string before = names(record_);
  change(record_);
  if (names(record_) == before) return;
  news_ = true;
  changed_.notify_one();
}

void ProgressKeeper::at_work(std::string stage, std::string what) {
  update([&](ProgressRecord& record) {
    record.now = {
        {.stage = std::move(stage), .what = std::move(what), .share = {}, .rate = {}, .unit = {}}};
  });
}

void ProgressKeeper::parts_done(const std::string& stage, std::uint64_t done) {
  update([&](ProgressRecord& record) {
    const double now_s = monotonic_s();
    if (std::exchange(parts_of_, stage) != stage) {
      parts_before_ = done;
      parts_since_s_ = now_s;
    }
    const auto found = std::ranges::find(record.stages, stage, &StageProgress::stage);
    if (found == record.stages.end()) return;
    found->done = done;
    found->part = 0;
    if (done > parts_before_)
      found->unit_s = (now_s - parts_since_s_) / static_cast<double>(done - parts_before_);
  });
}

void ProgressKeeper::disk_known(std::uint64_t corpus_bytes, std::uint64_t chunk_bytes) {
  const std::lock_guard lock(mutex_);
  corpus_bytes_ = corpus_bytes;
  chunk_bytes_ = chunk_bytes;
}

namespace {

// Stages whose work world rank 0 shows by bars; what tickets tell has a share of its own.
bool has_bars(const WorkPiece& piece) {
  return !piece.share && (piece.stage == "download" || piece.stage == "prepare" ||
                          piece.stage == "evaluate" || piece.stage == "probe");
}

// "evaluate 1 of 2" and "evaluate big: held-out rows" are "evaluate 1 of 2: big: held-out rows".
std::string with_label(const WorkPiece& piece, std::string_view label) {
  if (label.starts_with(piece.stage)) label.remove_prefix(piece.stage.size());
  label.remove_prefix(std::min(label.find_first_not_of(": "), label.size()));
  return label.empty() ? piece.what : fmt::format("{}: {}", piece.what, label);
}

}  // namespace

ProgressRecord ProgressKeeper::present() {
  const std::optional<BarState> bar = current_bar();
  const std::lock_guard lock(mutex_);
  ProgressRecord record = record_;
  record.time = utc_now();
  record.disk = disk_;
  if (corpus_bytes_ > 0) {
    std::erase_if(record.disk, [](const auto& use) { return use.first == "chunks"; });
    record.disk.emplace_back("chunks", chunk_bytes_);
    record.disk.emplace_back("shards and tokens", corpus_bytes_);
  }
  if (record.ended || !bar || record.now.size() != 1 || !has_bars(record.now.front()))
    return record;
  WorkPiece& piece = record.now.front();
  piece.what = with_label(piece, bar->label);
  piece.unit = bar->unit;
  if (bar->total > 0)
    piece.share = static_cast<double>(bar->done) / static_cast<double>(bar->total);
  if (bar->done > 0) piece.rate = bar->rate;
  return record;
}

void ProgressKeeper::write() {
  last_s_ = monotonic_s();
  try {
    expect_own_();
    write_progress(file_, present());
  } catch (const std::exception&) {  // another job's now, or no memory: it is for people only
  }
}

bool ProgressKeeper::look_at_disk() {
  constexpr double kShareOfTime = 50;
  const double began_s = monotonic_s();
  if (began_s < look_again_s_) return false;
  disk_ = disk_use_of_run(file_.parent_path());
  const double ended_s = monotonic_s();
  disk_took_s_ = ended_s - began_s;
  look_again_s_ = ended_s + std::max(times_.disk_interval_s, kShareOfTime * disk_took_s_);
  return true;
}

void ProgressKeeper::keep(const std::stop_token& stop) {
  sigset_t all;  // signals are the main thread's
  sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
  while (!stop.stop_requested()) {
    write();
    if (look_at_disk()) write();
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, stop, std::chrono::duration<double>(times_.interval_s),
                      [this] { return news_; });
    news_ = false;
    const double early_s = last_s_ + times_.shortest_s - monotonic_s();
    if (early_s > 0)
      changed_.wait_for(lock, stop, std::chrono::duration<double>(early_s), [] { return false; });
  }
}

}  // namespace refract
