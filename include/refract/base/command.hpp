#pragma once
// Another program, asked for a short answer. Never for longer than a limit: squeue on a busy
// cluster, or a file system that hangs, must not hang us. Not after MPI is up: some networks do not
// survive a fork.
#include <optional>
#include <string>
#include <vector>

namespace refract {

// Where PATH has the program; empty: nowhere.
[[nodiscard]] std::string in_path(const std::string& program);

struct Answer {
  int code = 0;      // 128 + n: ended by signal n
  std::string text;  // stdout and stderr as they came
};
// words.front(): a path, or a name in PATH. Nothing when it cannot be started or took longer than
// limit_s: then it and what it started are killed.
[[nodiscard]] std::optional<Answer> ask(const std::vector<std::string>& words, double limit_s);

// One line that a shell reads as these words.
[[nodiscard]] std::string as_shell_line(const std::vector<std::string>& words);

}  // namespace refract
