#include "refract/pipeline/run_folder.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <sstream>

#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/numbers.hpp"
#include "refract/base/slurm.hpp"
#include "refract/store/chunk.hpp"

namespace refract {

fs::path RunFolder::chunk(std::uint64_t chunk) const { return store / (chunk_name(chunk) + ".h5"); }

std::string RunFolder::model_name() const {
  const std::string folder = store.filename().string();
  return folder.substr(0, folder.size() - std::string_view(kStoreSuffix).size());
}

std::string model_display_name(const std::string& setting) {
  std::string text = setting.substr(0, setting.find('@'));
  if (text.starts_with("file:")) {
    fs::path folder = text.substr(5);
    if (!folder.has_filename()) folder = folder.parent_path();
    return folder.filename().string();
  }
  for (std::size_t at; (at = text.find('/')) != std::string::npos;) text.replace(at, 1, "--");
  return text;
}

RunFolder run_folder(const fs::path& run, const std::string& model_name) {
  return {run, run / (model_name + kStoreSuffix)};
}

std::string to_text(const RunStatus& status) {
  std::string text = fmt::format("{} {} {}", status.word, status.job, status.attempt);
  if (status.code != 0 || !status.text.empty())
    text += fmt::format(" {} {}", status.code, status.text);
  std::ranges::replace(text, '\n', ' ');
  return text;
}

void write_status(const fs::path& file, const RunStatus& status) {
  const std::string line = to_text(status) + "\n";
  try {
    write_file(file, line);
  } catch (const SystemError&) {
    // A block that the file already has can be written to on a full disk.
    const FileDescriptor old = FileDescriptor::try_open(file, O_WRONLY);
    if (!old.is_open()) throw;
    old.write_at(0, line);
    old.truncate(line.size());
  }
}

std::optional<RunStatus> read_status(const fs::path& file) {
  std::error_code ignored;
  if (!fs::exists(file, ignored)) return std::nullopt;
  std::istringstream line(read_file(file));
  RunStatus status;
  std::string attempt, code;
  line >> status.word >> status.job >> attempt >> code;
  const auto number = parse_count(attempt);
  if (!number) return std::nullopt;
  status.attempt = *number;
  status.code = static_cast<int>(parse_count(code, 255).value_or(0));
  std::getline(line >> std::ws, status.text);
  return status;
}

std::string read_submitted_job(const RunFolder& folder) {
  std::error_code ignored;
  if (!fs::exists(folder.submitted_job(), ignored)) return "";
  std::string text = read_file(folder.submitted_job());
  text.resize(std::min(text.find_first_of(" \t\n"), text.size()));
  return text;
}

std::string slurm_id(const std::string& job) {
  constexpr std::string_view kSlurm = "slurm-";
  return job.starts_with(kSlurm) ? job.substr(kSlurm.size()) : "";
}

std::string job_name() {
  const std::optional<std::string> slurm = slurm_job();
  return slurm ? "slurm-" + *slurm : fmt::format("pid-{}", ::getpid());
}

std::uint64_t bytes_below(const fs::path& folder) {
  std::uint64_t bytes = 0;
  std::error_code ignored;
  for (auto entry = fs::recursive_directory_iterator(folder, ignored);
       entry != fs::recursive_directory_iterator(); entry.increment(ignored))
    if (entry->is_regular_file(ignored)) bytes += entry->file_size(ignored);
  return bytes;
}

}  // namespace refract
