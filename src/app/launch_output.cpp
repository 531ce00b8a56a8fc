#include "app/launch_output.hpp"

#include <fmt/format.h>

#include <array>
#include <csignal>
#include <regex>
#include <utility>

#include "refract/base/error.hpp"

namespace refract {
namespace {

bool is_rule(std::string_view line) {
  return line.size() >= 60 && line.find_first_not_of('-') == std::string_view::npos;
}

// Notices that only say that a rank ended, and how.
bool repeats_a_rank(const std::string& text) {
  constexpr std::array kPhrases{"MPI_ABORT was invoked",        "Primary job",
                                "exited with non-zero status",  "noticed that process rank",
                                "without calling \"finalize\"", "1 process returned"};
  for (const char* phrase : kPhrases)
    if (text.find(phrase) != std::string::npos) return true;
  return false;
}

bool is_crash(int signal) {
  return signal == SIGSEGV || signal == SIGBUS || signal == SIGILL || signal == SIGFPE ||
         signal == SIGABRT;
}

const char* why(int signal) {
  if (is_crash(signal)) return "a defect of the program, please report it";
  return signal == SIGKILL ? "out of memory, or by hand" : "from outside";
}

// "[host:1234] ...": Open MPI about itself; of a crash, the stack.
bool is_open_mpi_speaking(const std::string& text) {
  static const std::regex prefix(R"(^\[[^\]\s]+:\d+\] )");
  return std::regex_search(text, prefix);
}

bool is_ours(int code) { return code == 0 || (code >= 2 && code <= 6) || code == 85; }

}  // namespace

void LauncherOutput::note_killed(const std::string& text) {
  static const std::regex mpirun(
      R"(process rank (\d+) with PID \d+ on node (\S+) exited on\s+signal (\d+))");
  static const std::regex srun(
      R"(srun: error: (\S+): task (\d+): (Killed|Segmentation fault|Bus error|Aborted))");
  std::smatch found;
  if (killed_) return;
  if (std::regex_search(text, found, mpirun))
    killed_ = Killed{found[1], found[2], std::stoi(found[3])};
  else if (std::regex_search(text, found, srun))
    killed_ = Killed{found[2], found[1],
                     found[3] == "Killed"    ? SIGKILL
                     : found[3] == "Aborted" ? SIGABRT
                                             : SIGSEGV};
}

std::optional<std::string> LauncherOutput::take(std::string_view line) {
  if (line.starts_with("refract")) {  // a rank's line may fall between a notice's lines
    rank_spoke_ |= line.starts_with("refract[");
    return std::string(line);
  }
  if (is_rule(line)) {
    in_notice_ = !in_notice_;
    if (in_notice_) return std::nullopt;
    std::string notice = std::exchange(notice_, {});
    note_killed(notice);
    if (!repeats_a_rank(notice)) return notice;
    held_ += (held_.empty() ? "" : "\n") + notice;
    return std::nullopt;
  }
  if (in_notice_) {
    notice_ += notice_.empty() ? "" : "\n";
    notice_ += line;
    return std::nullopt;
  }
  const std::string text(line);
  note_killed(text);
  const bool chatter = is_open_mpi_speaking(text) ||
                       text.find("Forwarding signal") != std::string::npos ||
                       text.starts_with("srun: ") || text.starts_with("slurmstepd: ") ||
                       text.find("has sent help message") != std::string::npos ||
                       text.find("orte_base_help_aggregate") != std::string::npos;
  if (!chatter) return text;
  held_ += (held_.empty() ? "" : "\n") + text;
  return std::nullopt;
}

LauncherOutput::End LauncherOutput::end(int code, bool stopping) const {
  // A signal before the ranks could catch it: nothing was begun, nothing is lost.
  if (stopping && (code == 128 + SIGUSR1 || (killed_ && killed_->signal == SIGUSR1)))
    return {static_cast<int>(ExitCode::resume),
            "stopped before the ranks had begun; start again to go on"};
  if (killed_ && !rank_spoke_)
    return {
        static_cast<int>(ExitCode::system),
        fmt::format(
            "{}refract[{}] {}: killed by signal {} ({}); start the same command again, it resumes",
            is_crash(killed_->signal) ? held_ + "\n" : "", killed_->rank, killed_->host,
            killed_->signal, why(killed_->signal))};
  if (code == 0 || rank_spoke_ || code == static_cast<int>(ExitCode::resume))
    return {is_ours(code) ? code : static_cast<int>(ExitCode::system), ""};
  const std::string unfinished = notice_.empty() ? "" : "\n" + notice_;
  return {is_ours(code) ? code : static_cast<int>(ExitCode::system),
          fmt::format("{}{}\nrefract: the launcher ended with code {} and no rank said why; start "
                      "the same command again, it resumes",
                      held_, unfinished, code)};
}

}  // namespace refract
