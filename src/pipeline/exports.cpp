#include "pipeline/exports.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "pipeline/export_metadata.hpp"
#include "pipeline/owners.hpp"
#include "refract/base/digest.hpp"
#include "refract/base/error.hpp"
#include "refract/base/progress.hpp"
#include "refract/sae/fold.hpp"
#include "refract/sae/saelens.hpp"

namespace refract {
namespace {

using Json = nlohmann::ordered_json;

// A line of SHA256SUMS, which `sha256sum -c` reads.
std::string sum_line(const std::string& sha256, const std::string& file) {
  return fmt::format("{}  {}\n", sha256, file);
}

}  // namespace

std::string export_sums(const fs::path& folder, const std::function<void()>& tick) {
  std::string sums;
  for (const char* file : {kExportFiles[0], kExportFiles[1]})
    sums += sum_line(sha256_of_file(folder / file, tick), file);
  return sums;
}

std::vector<WrittenFile> collective_write_export(const fs::path& folder, const CheckpointedRun& run,
                                                 const TrainedSae& sae, DType dtype,
                                                 const std::string& metrics_line,
                                                 StepRunner& runner) {
  Communicator& ranks = runner.mesh().ranks();
  SaeExport part = sae.variant->export_for_saelens(sae.used());
  const SaeSpaces spaces = sae.spaces();
  fold(part, *spaces.input, *spaces.target);
  part.d_sae = sae.config.d_sae;
  std::vector<WrittenFile> files;
  if (ranks.rank() == 0)
    files.push_back(
        write_saelens_config(folder, part, dtype, export_metadata(run, sae, part, metrics_line)));
  SafetensorsWriter file = collective_open(ranks, [&](FileWriter::Begin begin) {
    return open_saelens_weights(folder, part, dtype, begin);
  });
  write_owned(file, part, dtype, owned_features(sae, runner), runner.stream());
  files.push_back(file.close());
  return files;
}

void collective_mend_export(const fs::path& folder, const CheckpointedRun& run,
                            const TrainedSae& sae, const std::string& metrics_line,
                            StepRunner& runner) {
  Communicator& ranks = runner.mesh().ranks();
  const bool root = ranks.rank() == 0;
  const bool whole = root && export_is_whole(folder, weights_digest(sae));
  if (ranks.all_reduce_max(whole ? 1 : 0) != 0) return;
  StagedFolder staged{folder, {}, true};
  if (root) {
    warn(fmt::format(
        "the SAELens files of {} are missing or not what was written; they are made again",
        folder.string()));
    staged = stage_folder(folder);
  }
  staged.files =
      collective_write_export(staged.made(), run, sae, DType::bf16, metrics_line, runner);
  settle_files(staged);
  ranks.barrier();
  if (!root) return;
  settle(write_unsynced(staged.made() / kExportFiles[2], export_sums(staged.made())));
  for (const char* file : kExportFiles) rename_durably(staged.made() / file, folder / file);
  remove_all_quietly(staged.made());
}

StagedFolder collective_stage_latest(const CheckpointedRun& run, const TrainedSae& sae,
                                     const std::string& metrics_line, StepRunner& runner) {
  StagedFolder staged{run.folder.latest(sae.config.name), {}, true};
  if (runner.mesh().ranks().rank() == 0) staged = stage_folder(staged.final_name);
  staged.exported = true;
  staged.files = collective_write_export(staged.made(), run, sae, DType::f32, metrics_line, runner);
  return staged;
}

bool export_is_whole(const fs::path& folder, const std::string& weights) try {
  if (read_file(folder / kExportFiles[2]) != export_sums(folder)) return false;
  const Json config = Json::parse(read_file(folder / kExportFiles[0]));
  return config.dump().find(weights) != std::string::npos;
} catch (const std::exception&) {
  return false;
}

}  // namespace refract
