#pragma once
// Live progress: a bar with rate and time left on a terminal, a plain line at intervals in a log
// file.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace refract {

struct BarState;

class Progress {
 public:
  // total 0: unknown. unit e.g. "tokens", "docs". Quiet progress prints nothing (ranks other than
  // 0, tests).
  Progress(std::string label, std::uint64_t total, std::string unit, bool quiet = false);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  void advance(std::uint64_t amount);  // thread-safe; draws at most a few times a second
  void note(std::string_view text);    // shown behind the bar
  void finish();  // the final line, with the mean rate; also called by the destructor

 private:
  friend std::optional<BarState> current_bar();
  void draw(bool last);
  std::string label_, unit_, note_;
  std::uint64_t total_, done_ = 0;
  double start_s_, drawn_s_ = 0;
  bool quiet_, terminal_, finished_ = false;
};

// What the innermost bar of this process says, drawn or quiet, for whoever tells it elsewhere; any
// thread. Nothing while there is none with a label.
struct BarState {
  std::string label, unit;
  std::uint64_t done = 0, total = 0;  // total 0: unknown
  double rate = 0;                    // units a second, since it began
};
[[nodiscard]] std::optional<BarState> current_bar();

// Whether stdout is a terminal that a person watches. REFRACT_TERMINAL=0|1 decides where a launcher
// stands between.
[[nodiscard]] bool on_terminal();
[[nodiscard]] std::string stdout_file();  // the file that stdout is; empty: it is none
void say(std::string_view line);          // one line of information on stdout
void warn(std::string_view line);         // one line on stderr, prefixed "refract: warning:"
void set_quiet(bool quiet);               // silences say() and Progress (not warn)
[[nodiscard]] double monotonic_s();
[[nodiscard]] std::string human_bytes(std::uint64_t bytes);  // "1.5 GiB"
[[nodiscard]] std::string human_count(double count);         // "1.05 M"
[[nodiscard]] std::string human_seconds(double seconds);     // "1 h 05 min"

}  // namespace refract
