#include "refract/pipeline/run_folder.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <ctime>

#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/progress.hpp"
#include "refract/comm/environment.hpp"
#include "refract/store/chunk.hpp"

namespace refract {
namespace {

constexpr double kHeartbeat_s = 20;
constexpr long kMissedHeartbeats_s = 60;

std::string boot_id() {
  try {
    std::string id = read_file("/proc/sys/kernel/random/boot_id");
    while (!id.empty() && id.back() == '\n') id.pop_back();
    return id;
  } catch (const Error&) {
    return "unknown";
  }
}

// Without locks: the record is believed while its process may live.
bool record_is_live(const fs::path& file, const std::string& record) {
  if (record.empty()) return false;
  const std::size_t pid_at = record.find("pid "), boot_at = record.find("boot ");
  if (pid_at != std::string::npos && boot_at != std::string::npos &&
      record.substr(boot_at + 5).starts_with(boot_id())) {
    const long pid = std::strtol(record.c_str() + pid_at + 4, nullptr, 10);
    return ::kill(static_cast<pid_t>(pid), 0) == 0 || errno == EPERM;
  }
  struct stat status {};
  return ::stat(file.c_str(), &status) == 0 &&
         std::time(nullptr) - status.st_mtime < kMissedHeartbeats_s;
}

}  // namespace

fs::path RunFolder::chunk(std::uint64_t chunk) const { return store / (chunk_name(chunk) + ".h5"); }

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
  return {run, run / (model_name + "_activations")};
}

RunLock::RunLock(const fs::path& file, const std::string& job) : file_(file) {
  descriptor_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor_ < 0) throw_file_error("opening", file, errno);
  std::string record = read_file(file);
  while (!record.empty() && record.back() == '\n') record.pop_back();
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  const bool locked = ::fcntl(descriptor_, F_SETLK, &lock) == 0;
  const int failure = locked ? 0 : errno;
  const bool unsupported =
      failure == ENOLCK || failure == ENOSYS || failure == EOPNOTSUPP || failure == EINVAL;
  if (!locked && !unsupported && failure != EACCES && failure != EAGAIN)
    throw_file_error("locking", file, failure);
  if (unsupported ? record_is_live(file, record) : !locked) {
    ::close(descriptor_);
    throw SystemError(
        "the run folder {} is in use by {}. Wait for it to end, or give this job another folder "
        "(--set run=...).",
        file.parent_path().string(), record.empty() ? "another process" : record);
  }
  record = fmt::format("host {} pid {} job {} boot {}\n", host_name(), ::getpid(), job, boot_id());
  if (::ftruncate(descriptor_, 0) != 0 ||
      ::pwrite(descriptor_, record.data(), record.size(), 0) < 0)
    throw_file_error("writing", file, errno);
}

RunLock::~RunLock() {
  if (descriptor_ < 0) return;
  if (::ftruncate(descriptor_, 0) != 0) warn(fmt::format("cannot clear {}", file_.string()));
  ::close(descriptor_);
}

void RunLock::heartbeat() {
  if (monotonic_s() - touched_s_ < kHeartbeat_s) return;
  touched_s_ = monotonic_s();
  ::futimens(descriptor_, nullptr);
}

void write_status(const fs::path& file, const std::string& line) { write_file(file, line + "\n"); }

std::string read_status(const fs::path& file) {
  std::error_code ignored;
  if (!fs::exists(file, ignored)) return "";
  std::string line = read_file(file);
  return line.substr(0, line.find('\n'));
}

std::string job_name() {
  const char* slurm = std::getenv("SLURM_JOB_ID");
  return slurm ? std::string("slurm-") + slurm : fmt::format("pid-{}", ::getpid());
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
