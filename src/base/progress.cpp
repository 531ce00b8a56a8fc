#include "refract/base/progress.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <utility>
#include <vector>

#include "refract/base/activity.hpp"

namespace refract {
namespace {

std::atomic<bool> g_quiet{false};
std::mutex g_terminal;
std::vector<const Progress*> g_bars;  // those that live, the innermost last
constexpr double kTerminalInterval_s = 0.2, kLogInterval_s = 15.0;

}  // namespace

bool on_terminal() {
  // mpirun gives every rank a terminal of its own, whatever its own output is; only a launcher of
  // ours knows.
  if (const char* told = std::getenv("REFRACT_TERMINAL")) return std::string_view(told) == "1";
  for (const char* launcher : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"})
    if (std::getenv(launcher)) return false;
  return ::isatty(STDOUT_FILENO) == 1;
}

std::string stdout_file() {
  struct stat status {};
  if (::fstat(STDOUT_FILENO, &status) != 0 || !S_ISREG(status.st_mode)) return "";
  std::array<char, 4096> name{};
  const ssize_t size = ::readlink("/proc/self/fd/1", name.data(), name.size());
  const std::string file(name.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
  return file.ends_with(" (deleted)") ? "" : file;
}

double monotonic_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void set_quiet(bool quiet) { g_quiet = quiet; }

void say(std::string_view line) {
  if (g_quiet) return;
  const std::lock_guard lock(g_terminal);
  fmt::print("{}{}\n", on_terminal() ? "\r\033[K" : "", line);  // in place of a bar
  std::fflush(stdout);
}

void warn(std::string_view line) {
  const std::lock_guard lock(g_terminal);
  fmt::print(stderr, "refract: warning: {}\n", line);
}

std::string human_bytes(std::uint64_t bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  double value = static_cast<double>(bytes);
  int unit = 0;
  while (value >= 1024 && unit < 5) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string human_count(double count) {
  if (count >= 1e9) return fmt::format("{:.2f} G", count / 1e9);
  if (count >= 1e6) return fmt::format("{:.2f} M", count / 1e6);
  if (count >= 1e4) return fmt::format("{:.1f} k", count / 1e3);
  return fmt::format("{:.0f}", count);
}

std::string human_seconds(double seconds) {
  const auto whole = static_cast<long>(seconds + 0.5);
  if (whole >= 3600) return fmt::format("{} h {:02} min", whole / 3600, whole / 60 % 60);
  if (whole >= 60) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{:.1f} s", seconds);
}

Progress::Progress(std::string label, std::uint64_t total, std::string unit, bool quiet)
    : label_(std::move(label)),
      unit_(std::move(unit)),
      total_(total),
      start_s_(monotonic_s()),
      drawn_s_(start_s_),
      quiet_(quiet || g_quiet),
      terminal_(on_terminal()) {
  const std::lock_guard lock(g_terminal);
  g_bars.push_back(this);
}

Progress::~Progress() { finish(); }

void Progress::advance(std::uint64_t amount) {
  tick();
  const std::lock_guard lock(g_terminal);
  done_ += amount;
  if (total_ > 0)
    done_ = std::min(done_, total_);  // a rank that tells for all may overshoot by a block
  const double now = monotonic_s();
  if (now - drawn_s_ < (terminal_ ? kTerminalInterval_s : kLogInterval_s)) return;
  drawn_s_ = now;
  draw(false);
}

void Progress::note(std::string_view text) {
  const std::lock_guard lock(g_terminal);
  note_ = text;
}

void Progress::finish() {
  const std::lock_guard lock(g_terminal);
  if (finished_) return;
  finished_ = true;
  std::erase(g_bars, this);
  draw(true);
}

std::optional<BarState> current_bar() {
  const std::lock_guard lock(g_terminal);
  for (auto bar = g_bars.rbegin(); bar != g_bars.rend(); ++bar) {
    const Progress& b = **bar;
    if (b.label_.empty()) continue;
    const double elapsed_s = std::max(monotonic_s() - b.start_s_, 1e-9);
    return BarState{b.label_, b.unit_, b.done_, b.total_, static_cast<double>(b.done_) / elapsed_s};
  }
  return std::nullopt;
}

void Progress::draw(bool last) {
  if (quiet_) return;
  const double elapsed = std::max(monotonic_s() - start_s_, 1e-9);
  const double rate = static_cast<double>(done_) / elapsed;
  std::string line = fmt::format("{:<28}", label_);
  if (total_ > 0 && !last) {
    const double share = std::min(1.0, static_cast<double>(done_) / static_cast<double>(total_));
    const auto filled = static_cast<std::size_t>(share * 24);
    line += fmt::format(" [{}{}] {:3.0f} %", std::string(filled, '#'),
                        std::string(24 - filled, '.'), share * 100);
  }
  line += fmt::format("  {} {}  {}/s", human_count(static_cast<double>(done_)), unit_,
                      human_count(rate));
  if (last)
    line += fmt::format("  in {}", human_seconds(elapsed));
  else if (total_ > done_ && rate > 0)
    line += fmt::format("  {} left", human_seconds(static_cast<double>(total_ - done_) / rate));
  if (!note_.empty()) line += "  " + note_;
  if (terminal_)
    fmt::print("\r\033[K{}{}", line, last ? "\n" : "");
  else
    fmt::print("{}\n", line);
  std::fflush(stdout);
}

}  // namespace refract
