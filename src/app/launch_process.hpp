#pragma once
#include <string>
#include <vector>

namespace refract {

// Runs the launcher and returns the job's exit code. Its stderr passes through LauncherOutput.
// TERM, INT, USR1 and HUP ask the ranks to stop with a checkpoint; INT after that ends them. The
// launcher dies with this process.
[[nodiscard]] int run_launcher(const std::vector<std::string>& command, bool on_terminal);

}  // namespace refract
