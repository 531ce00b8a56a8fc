#include "pipeline/exports.hpp"

#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>

#include "refract/base/digest.hpp"
#include "refract/base/error.hpp"
#include "refract/base/progress.hpp"
#include "refract/sae/saelens.hpp"

namespace refract {
namespace {

using Json = nlohmann::ordered_json;

// A line of SHA256SUMS, which `sha256sum -c` reads.
std::string sum_line(const std::string& sha256, const std::string& file) {
  return fmt::format("{}  {}\n", sha256, file);
}

std::map<std::string, std::string> metadata_of(const CheckpointedRun& run, const TrainedSae& sae) {
  const auto quoted = [](const std::string& text) { return Json(text).dump(); };
  std::map<std::string, std::string> metadata{
      {"model_name", quoted(run.folder.model_name())},
      {"hook_name", quoted(hook_text(sae.config))},
      {"context_size", std::to_string(run.config.tokens.context)},
      {"prepend_bos", run.config.tokens.bos == "none" ? "false" : "true"},
      {"dataset_path", quoted("wikipedia")},
      {"refract_weights_digest", quoted(weights_digest(sae))}};
  if (is_transcoder(sae.config)) metadata["hook_name_out"] = quoted(sae.config.target_hook);
  return metadata;
}

}  // namespace

std::vector<WrittenFile> write_export(const fs::path& folder, const CheckpointedRun& run,
                                      const TrainedSae& sae, DType dtype) {
  std::vector<WrittenFile> files = write_saelens_folder(
      folder,
      sae.variant->export_for_saelens(sae.state.parameters, sae.scale()),
      dtype, metadata_of(run, sae));
  std::string sums;
  for (const WrittenFile& file : files) sums += sum_line(file.sha256, file.path.filename());
  files.push_back(write_unsynced(folder / kExportFiles[2], sums));
  return files;
}

void mend_export(const fs::path& folder, const CheckpointedRun& run, const TrainedSae& sae) {
  if (export_is_whole(folder, weights_digest(sae))) return;
  warn(fmt::format(
      "the SAELens files of {} are missing or not what was written; they are made again",
      folder.string()));
  StagedFolder staged = stage_folder(folder);
  staged.files = write_export(staged.made(), run, sae, DType::bf16);
  for (const WrittenFile& file : staged.files) {
    settle(file);
    rename_durably(file.path, folder / file.path.filename());
  }
  remove_all_quietly(staged.made());
}

StagedFolder stage_latest(const CheckpointedRun& run, const TrainedSae& sae) {
  StagedFolder staged = stage_folder(run.folder.latest(sae.config.name));
  staged.files = write_export(staged.made(), run, sae, DType::f32);
  return staged;
}

bool export_is_whole(const fs::path& folder, const std::string& weights) try {
  std::string sums;
  for (const char* file : {kExportFiles[0], kExportFiles[1]})
    sums += sum_line(sha256_of_file(folder / file), file);
  if (read_file(folder / kExportFiles[2]) != sums) return false;
  const Json config = Json::parse(read_file(folder / kExportFiles[0]));
  return config.dump().find(weights) != std::string::npos;
} catch (const std::exception&) {
  return false;
}

}  // namespace refract
