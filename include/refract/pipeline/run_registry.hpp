#pragma once
// <data_root>/runs.jsonl: which folders of a data root its runs use, so that `refract clean` can
// tell what none does. One line per start of a run; the last line of a run counts. Lines are only
// ever appended, under a claim that clean holds as well.
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace refract {

struct RegisteredRun {
  std::filesystem::path run;         // absolute
  std::vector<std::string> folders;  // relative to the data root: "tokens/0f3c", "shards/81aa"
};

[[nodiscard]] std::filesystem::path run_registry(const std::filesystem::path& data_root);

// Before the run makes or relies on anything in `folders` (all below data_root; those of its
// shards, tokens and contexts). Nothing is written where the run's last line says the same. Waits,
// calling idle(), while the data root is being cleaned.
void register_run(const std::filesystem::path& data_root, const std::filesystem::path& run,
                  const std::vector<std::filesystem::path>& folders,
                  const std::function<void()>& idle = {});

// What a command that does not know all folders of the run uses: added to those that the run names
// already, which stay named.
void register_more(const std::filesystem::path& data_root, const std::filesystem::path& run,
                   const std::vector<std::filesystem::path>& folders,
                   const std::function<void()>& idle = {});

// Every run that registered, also of folders that no longer exist. Empty where none ever did.
// DataError names the line that cannot be read (a torn last one is passed over).
[[nodiscard]] std::vector<RegisteredRun> registered_runs(const std::filesystem::path& data_root);

}  // namespace refract
