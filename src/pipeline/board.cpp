#include "pipeline/board.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

namespace refract {
namespace {

constexpr Role kInOrder[] = {Role::download, Role::tokenize, Role::extract, Role::train};

std::size_t index_of(Role role) { return static_cast<std::size_t>(role); }

}  // namespace

Board::Board(const RolePlan& plan, double now_s) : plan_(plan), start_s_(now_s) {}

void Board::started(const Assignment& a, double now_s) {
  running_.push_back({.ticket = a.ticket, .started_s = now_s, .share = 0, .ranks = a.ranks.size()});
}

void Board::progressed(const Ticket& ticket, double share) {
  for (Running& running : running_)
    if (running.ticket == ticket) running.share = share;
}

void Board::finished(const Assignment& a, double now_s) {
  const auto found = std::ranges::find(running_, a.ticket, &Running::ticket);
  if (found == running_.end()) return;
  rank_seconds_[index_of(role_of(a.ticket.work))] +=
      (now_s - found->started_s) * static_cast<double>(found->ranks);
  running_.erase(found);
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
