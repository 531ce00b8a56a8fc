#pragma once
// What the user sees of a running job: which role works on what, how busy each is, which one the
// others wait for.
#include <array>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "refract/base/progress.hpp"
#include "refract/pipeline/progress_file.hpp"
#include "refract/pipeline/schedule.hpp"

namespace refract {

// Busy time of each role: rank-seconds spent on tickets of all rank-seconds since the start.
class Board {
 public:
  Board(const RolePlan& plan, double now_s);
  void started(const Assignment& assignment, double now_s);
  // rows: worked through for this ticket so far, in this attempt.
  void progressed(const Ticket& ticket, double share, std::uint64_t rows);
  void finished(const Assignment& assignment, std::uint64_t rows, double now_s);
  // Seconds that the last finished ticket of this work took; nothing: none has finished.
  [[nodiscard]] std::optional<double> took_s(Ticket::Work work) const;
  [[nodiscard]] double busy(Role role, double now_s) const;  // 0..1
  // split: the busiest role, which the others wait for. fused: the role that takes most of the
  // time.
  [[nodiscard]] Role bottleneck(double now_s) const;
  // Rows a second of the tickets that worked on chunks in this attempt; nothing while none did.
  [[nodiscard]] std::optional<double> rows_per_s(Role role, double now_s) const;
  // What is at work, the latest role first; of `state`.
  [[nodiscard]] std::vector<WorkPiece> at_work(const PipelineState& state, double now_s) const;
  // "download 2 of 8 · tokenize 1 of 8 · extract 3 of 7 (45 %) · train 2 of 7 (10 %) | busy 3 9 98
  // 61 % | bottleneck extract"
  [[nodiscard]] std::string line(const PipelineState& state, double now_s) const;
  // "time: download 1 %, tokenize 2 %, extract 60 %, train 37 %; bottleneck extract"
  [[nodiscard]] std::string summary(double now_s) const;

 private:
  struct Running {
    Ticket ticket;
    double started_s = 0, share = 0;
    std::size_t ranks = 0;
    std::uint64_t rows = 0;
  };
  std::map<Ticket::Work, double> took_s_;
  struct Worked {
    double seconds = 0, rows = 0;
  };
  RolePlan plan_;
  double start_s_;
  std::array<double, kRoles> rank_seconds_{};
  std::array<Worked, kRoles> worked_{};  // by finished tickets
  std::vector<Running> running_;
};

// Draws the board's line: in place on a terminal, now and then in a log.
class BoardDisplay {
 public:
  explicit BoardDisplay(bool quiet);
  void draw(const Board& board, const PipelineState& state, double now_s);
  void clear();  // before other output

 private:
  bool quiet_, terminal_, drawn_ = false;
  double next_s_ = 0;
};

}  // namespace refract
