#include "refract/pipeline/run_registry.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/progress.hpp"
#include "refract/pipeline/run_folder.hpp"
#include "refract/store/claim.hpp"

namespace refract {
namespace {

using Json = nlohmann::ordered_json;

fs::path absolute_name(const fs::path& path) {
  std::error_code ignored;
  const fs::path found = fs::weakly_canonical(fs::absolute(path), ignored);
  const fs::path name = ignored ? fs::absolute(path).lexically_normal() : found;
  return name.has_filename() ? name : name.parent_path();
}

std::optional<RegisteredRun> run_from(const Json& line) {
  if (!line.is_object() || !line.contains("run") || !line["run"].is_string() ||
      !line.contains("folders") || !line["folders"].is_array())
    return std::nullopt;
  RegisteredRun run{line["run"].get<std::string>(), {}};
  for (const Json& folder : line["folders"]) {
    if (!folder.is_string()) return std::nullopt;
    run.folders.push_back(folder.get<std::string>());
  }
  return run;
}

enum class Named { only, also };

void add_line(const fs::path& data_root, const fs::path& run, const std::vector<fs::path>& folders,
              Named named, const std::function<void()>& idle) {
  const fs::path root = absolute_name(data_root), registry = run_registry(root);
  RegisteredRun now{absolute_name(run), {}};
  for (const fs::path& folder : folders) {
    const fs::path below = absolute_name(folder).lexically_relative(root);
    REFRACT_ASSERT(!below.empty() && *below.begin() != "..", "{} is not below {}", folder.string(),
                   root.string());
    now.folders.push_back(below.generic_string());
  }
  make_folder(root);
  const Claim claim = Claim::wait_for(claim_name(registry), job_name(), idle);
  std::vector<RegisteredRun> known;
  try {
    known = registered_runs(root);
  } catch (const DataError& error) {  // only clean needs to read it, and will refuse
    warn(error.what());
  }
  const auto before = std::ranges::find(known, now.run, &RegisteredRun::run);
  if (named == Named::also && before != known.end())
    now.folders.insert(now.folders.end(), before->folders.begin(), before->folders.end());
  std::ranges::sort(now.folders);
  const auto twice = std::ranges::unique(now.folders);
  now.folders.erase(twice.begin(), twice.end());
  if (before != known.end() && before->folders == now.folders) return;
  std::string line;
  try {
    line = Json{{"run", now.run.string()}, {"folders", now.folders}}.dump();
  } catch (const Json::exception&) {
    throw ConfigError(
        "the path of the run folder or of data_root is not UTF-8: choose another (--set "
        "run=..., --set data_root=...)");
  }
  AppendLog(registry).append(line);
}

}  // namespace

fs::path run_registry(const fs::path& data_root) { return data_root / "runs.jsonl"; }

void register_run(const fs::path& data_root, const fs::path& run,
                  const std::vector<fs::path>& folders, const std::function<void()>& idle) {
  add_line(data_root, run, folders, Named::only, idle);
}

void register_more(const fs::path& data_root, const fs::path& run,
                   const std::vector<fs::path>& folders, const std::function<void()>& idle) {
  add_line(data_root, run, folders, Named::also, idle);
}

std::vector<RegisteredRun> registered_runs(const fs::path& data_root) {
  const fs::path registry = run_registry(data_root);
  std::vector<RegisteredRun> runs;
  std::error_code ignored;
  if (!fs::exists(registry, ignored)) return runs;
  const std::string text = read_file(registry);
  std::size_t number = 0;
  for (std::size_t at = 0, end; (end = text.find('\n', at)) != std::string::npos; at = end + 1) {
    ++number;
    const auto run =
        run_from(Json::parse(text.begin() + static_cast<std::ptrdiff_t>(at),
                             text.begin() + static_cast<std::ptrdiff_t>(end), nullptr, false));
    if (!run)
      throw DataError(
          "{}:{}: not a line of the run registry. Remove that line; a run that it named registers "
          "again when it is started.",
          registry.string(), number);
    std::erase_if(runs, [&](const RegisteredRun& before) { return before.run == run->run; });
    runs.push_back(*run);
  }
  return runs;
}

}  // namespace refract
