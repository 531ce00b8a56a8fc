#include "refract/pipeline/export_run.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

#include "pipeline/exports.hpp"
#include "pipeline/staged_folder.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/pipeline/numerics.hpp"
#include "refract/pipeline/run_folder.hpp"
#include "refract/sae/layout.hpp"

namespace refract {
namespace {

std::string sae_of(const ExportRequest& request, const RunFolder& folder) {
  if (!is_there(folder.run_yaml()))
    throw ConfigError(
        "'{}' is no run's folder: it has no run.yaml. Give the folder that `run:` "
        "names.",
        request.run.string());
  const std::vector<std::string> names = sae_names(read_frozen(folder.run_yaml()).config);
  if (names.empty()) throw ConfigError("'{}' has no SAE", request.run.string());
  if (request.sae.empty()) return names.front();
  if (std::ranges::find(names, request.sae) == names.end())
    throw ConfigError("--sae is '{}'; '{}' has {}", request.sae, request.run.string(),
                      fmt::join(names, ", "));
  return request.sae;
}

// The names of checkpoints whose SAELens files are there.
std::vector<std::string> exported_checkpoints(const fs::path& checkpoints) {
  std::vector<std::string> names;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(checkpoints, ignored))
    if (is_there(entry.path() / kExportFiles[2])) names.push_back(entry.path().filename());
  std::ranges::sort(names);
  return names;
}

fs::path exported_folder(const ExportRequest& request, const RunFolder& folder,
                         const std::string& sae) {
  const fs::path checkpoints = folder.checkpoints(sae);
  const fs::path found =
      request.checkpoint.empty() ? folder.latest(sae) : checkpoints / request.checkpoint;
  if (is_there(found / kExportFiles[2])) return found;
  const std::vector<std::string> known = exported_checkpoints(checkpoints);
  throw ConfigError("there is no SAE in '{}'. {}", found.string(),
                    known.empty()
                        ? std::string("The run has written none yet.")
                        : fmt::format("Give --checkpoint with one of: {}", fmt::join(known, ", ")));
}

ExportedSae read_whole(const fs::path& folder) {
  ExportedSae sae = read_exported_sae(folder);
  if (read_file(folder / kExportFiles[2]) != export_sums(folder))
    throw DataError(
        "'{}' is not what was written: its files do not fit its {}. Try again, the "
        "run may just have replaced it; a start of the run makes `latest` anew.",
        folder.string(), kExportFiles[2]);
  return sae;
}

bool is_free(const fs::path& folder) {
  std::error_code ignored;
  return !is_there(folder) || (fs::is_directory(folder, ignored) && fs::is_empty(folder, ignored));
}

}  // namespace

fs::path export_sae(const ExportRequest& request) {
  const RunFolder folder = run_folder(request.run, "");
  const std::string name = sae_of(request, folder);
  const DType dtype = dtype_from_name(request.dtype.empty() ? "fp32" : request.dtype);
  const ExportedSae sae = read_whole(exported_folder(request, folder, name));
  const SaeLayout& layout = layout_for(request.format, sae, dtype);
  const fs::path made = (request.out / layout.folder(sae) / "").parent_path();
  if (!is_free(made))
    throw ConfigError("'{}' exists already, and nothing is written over it. Give another --out.",
                      made.string());
  StagedFolder staged = stage_folder(made);
  try {
    staged.files = layout.write(staged.made(), sae, dtype);
    settle_files(staged);
    give_final_name(staged, [] {});
  } catch (...) {
    remove_all_quietly(staged.made());
    throw;
  }
  return made;
}

}  // namespace refract
