#pragma once
// What a launcher (mpirun of Open MPI 4 and 5, srun) says on stderr, turned into what a user needs:
// the ranks' own lines, and one line for a rank that could not write one.
#include <optional>
#include <string>
#include <string_view>

namespace refract {

class LauncherOutput {
 public:
  // What to show of one line, without its newline: nothing, the line, or a whole notice that has
  // just ended.
  [[nodiscard]] std::optional<std::string> take(std::string_view line);

  struct End {
    int exit_code;     // of the whole job (DESIGN section 3)
    std::string text;  // to show last; may be empty
  };
  // code: the launcher's exit code, 128 + signal when a signal ended it; stopping: a stop was asked
  // for.
  [[nodiscard]] End end(int code, bool stopping) const;

 private:
  struct Killed {
    std::string rank, host;
    int signal;
  };
  void note_killed(const std::string& text);

  bool in_notice_ = false, rank_spoke_ = false;
  std::string notice_;  // between two rules of dashes
  std::string held_;    // notices that repeat what a rank's own line says better
  std::optional<Killed> killed_;
};

}  // namespace refract
