#include "pipeline/board.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <functional>

namespace refract {
namespace {

constexpr Role kInOrder[] = {Role::download, Role::tokenize, Role::extract, Role::train};

std::size_t index_of(Role role) { return static_cast<std::size_t>(role); }

std::string what_of(const Ticket& ticket, const PipelineState& s) {
  const auto number = [&](std::uint64_t of) {
    return of > 0 ? fmt::format("{} {} of {}", name(ticket.work), ticket.index + 1, of)
                  : fmt::format("{} {}", name(ticket.work), ticket.index + 1);
  };
  switch (ticket.work) {
    case Ticket::Work::download:
    case Ticket::Work::tokenize: return number(s.shards);
    case Ticket::Work::prepare: return "calibration and held-out rows";
    case Ticket::Work::extract: return number(s.chunks);
    case Ticket::Work::restore: return "the newest checkpoint is read";
    case Ticket::Work::train: return number(s.visits);
    case Ticket::Work::evict: break;
  }
  return std::string(name(ticket.work));
}

}  // namespace

Board::Board(const RolePlan& plan, double now_s) : plan_(plan), start_s_(now_s) {}

void Board::started(const Assignment& a, double now_s) {
  running_.push_back(
      {.ticket = a.ticket, .started_s = now_s, .share = 0, .ranks = a.ranks.size(), .rows = 0});
}

void Board::progressed(const Ticket& ticket, double share, std::uint64_t rows) {
  for (Running& running : running_) {
    if (running.ticket != ticket) continue;
    running.share = share;
    running.rows = rows;
  }
}

void Board::finished(const Assignment& a, std::uint64_t rows, double now_s) {
  const auto found = std::ranges::find(running_, a.ticket, &Running::ticket);
  if (found == running_.end()) return;
  const double took_s = now_s - found->started_s;
  took_s_[a.ticket.work] = took_s;
  rank_seconds_[index_of(role_of(a.ticket.work))] += took_s * static_cast<double>(found->ranks);
  if (rows > 0) {
    Worked& worked = worked_[index_of(role_of(a.ticket.work))];
    worked.seconds += took_s;
    worked.rows += static_cast<double>(rows);
  }
  running_.erase(found);
}

std::optional<double> Board::took_s(Ticket::Work work) const {
  const auto found = took_s_.find(work);
  return found == took_s_.end() ? std::nullopt : std::optional(found->second);
}

std::optional<double> Board::rows_per_s(Role role, double now_s) const {
  Worked all = worked_[index_of(role)];
  for (const Running& running : running_) {
    if (role_of(running.ticket.work) != role || running.rows == 0) continue;
    all.seconds += now_s - running.started_s;
    all.rows += static_cast<double>(running.rows);
  }
  return all.rows > 0 && all.seconds > 0 ? std::optional(all.rows / all.seconds) : std::nullopt;
}

std::vector<WorkPiece> Board::at_work(const PipelineState& s, double now_s) const {
  std::vector<Running> latest_first = running_;
  std::ranges::stable_sort(latest_first, std::greater<>(), [](const Running& running) {
    return static_cast<int>(running.ticket.work);
  });
  std::vector<WorkPiece> pieces;
  for (const Running& running : latest_first) {
    WorkPiece piece{.stage = std::string(name(running.ticket.work)),
                    .what = what_of(running.ticket, s),
                    .share = {},
                    .rate = {},
                    .unit = {}};
    if (running.rows > 0) {
      piece.share = running.share;
      piece.rate = static_cast<double>(running.rows) / std::max(1e-9, now_s - running.started_s);
      piece.unit = "rows";
    }
    pieces.push_back(std::move(piece));
  }
  return pieces;
}

double Board::busy(Role role, double now_s) const {
  double sum = rank_seconds_[index_of(role)];
  for (const Running& running : running_)
    if (role_of(running.ticket.work) == role)
      sum += (now_s - running.started_s) * static_cast<double>(running.ranks);
  const double ranks = static_cast<double>(plan_.ranks_with(role).size()),
               elapsed = now_s - start_s_;
  return ranks > 0 && elapsed > 0 ? std::min(1.0, sum / (ranks * elapsed)) : 0;
}

Role Board::bottleneck(double now_s) const {
  return *std::ranges::max_element(kInOrder, {}, [&](Role role) { return busy(role, now_s); });
}

std::string Board::line(const PipelineState& s, double now_s) const {
  const auto at_work = [&](Role role) {
    std::string text;
    for (const Running& running : running_)
      if (role_of(running.ticket.work) == role && (role == Role::extract || role == Role::train))
        text = running.ticket.work == Ticket::Work::prepare
                   ? " (calibration, held-out rows)"
                   : fmt::format(" ({:.0f} %)", 100 * running.share);
    return text;
  };
  const std::uint64_t extracted =
      s.sealed.empty() ? s.visits_done : std::max(s.visits_done, s.sealed.back() + 1);
  return fmt::format(
      "download {} of {} · tokenize {} of {} · extract {} of {}{} · train {} of {}{} | busy {:.0f} "
      "{:.0f} {:.0f} {:.0f} % | bottleneck {}",
      s.downloaded.size(), s.shards, s.tokenized.size(), s.shards, std::min(extracted, s.chunks),
      s.chunks, at_work(Role::extract), s.visits_done, s.visits, at_work(Role::train),
      100 * busy(Role::download, now_s), 100 * busy(Role::tokenize, now_s),
      100 * busy(Role::extract, now_s), 100 * busy(Role::train, now_s), name(bottleneck(now_s)));
}

std::string Board::summary(double now_s) const {
  std::string text = plan_.split ? "busy:" : "time:";
  for (const Role role : kInOrder)
    text += fmt::format("{} {} {:.0f} %", role == Role::download ? "" : ",", name(role),
                        100 * busy(role, now_s));
  return text + fmt::format("; bottleneck {}", name(bottleneck(now_s)));
}

BoardDisplay::BoardDisplay(bool quiet) : quiet_(quiet), terminal_(on_terminal()) {}

void BoardDisplay::draw(const Board& board, const PipelineState& state, double now_s) {
  constexpr double kTerminalInterval_s = 0.5, kLogInterval_s = 15;
  if (quiet_ || now_s < next_s_) return;
  if (next_s_ == 0 && !terminal_) {  // a log's first line comes when there is something to tell
    next_s_ = now_s + kLogInterval_s;
    return;
  }
  next_s_ = now_s + (terminal_ ? kTerminalInterval_s : kLogInterval_s);
  if (terminal_)
    fmt::print("\r\033[K{}", board.line(state, now_s));
  else
    fmt::print("{}\n", board.line(state, now_s));
  std::fflush(stdout);
  drawn_ = terminal_;
}

void BoardDisplay::clear() {
  if (!drawn_) return;
  fmt::print("\r\033[K");
  drawn_ = false;
}

}  // namespace refract
