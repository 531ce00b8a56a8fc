#include "refract/store/file_digests.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <unordered_map>

#include "refract/base/digest.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"

namespace refract {
namespace {

using nlohmann::ordered_json;

constexpr std::int64_t kSecond_ns = 1'000'000'000;
constexpr std::int64_t kSettled_ns =
    kSecond_ns / 10;  // the clock that stamps files ticks at 100 Hz

const std::string kWhole = "whole";  // in the place of a SHA-256: the file was found whole

struct Stamp {
  std::uint64_t device = 0, inode = 0, size = 0;
  std::int64_t mtime_ns = 0, ctime_ns = 0;

  // As JSON members: what a line begins with, and what it is found by.
  [[nodiscard]] std::string key() const {
    return fmt::format(R"("device":{},"inode":{},"size":{},"mtime_ns":{},"ctime_ns":{})", device,
                       inode, size, mtime_ns, ctime_ns);
  }
};

std::int64_t nanoseconds(const timespec& time) { return time.tv_sec * kSecond_ns + time.tv_nsec; }

Stamp stamp_of(const struct stat& status) {
  return {.device = status.st_dev,
          .inode = status.st_ino,
          .size = static_cast<std::uint64_t>(status.st_size),
          .mtime_ns = nanoseconds(status.st_mtim),
          .ctime_ns = nanoseconds(status.st_ctim)};
}

std::optional<Stamp> stamp_of(const fs::path& file) {
  struct stat status {};
  if (::stat(file.c_str(), &status) != 0) return std::nullopt;
  return stamp_of(status);
}

bool is_settled(const Stamp& stamp) {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
  return nanoseconds(now) - std::max(stamp.mtime_ns, stamp.ctime_ns) > kSettled_ns;
}

struct Digested {
  std::string sha256, key;
};

Digested digest(const fs::path& file, const std::function<void()>& tick) {
  const FileDescriptor open = FileDescriptor::of_input(file);
  struct stat before {
  }, after{};
  ::fstat(open.number(), &before);
  std::string sha256 = sha256_of(open, tick);
  ::fstat(open.number(), &after);
  if (stamp_of(before).key() != stamp_of(after).key())
    throw DataError(
        "{} changed while it was read: let what writes it finish, then run the same command again",
        file.string());
  return {std::move(sha256), stamp_of(before).key()};
}

bool is_sha256(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  return text.size() == 64 && text.find_first_not_of(kDigits) == std::string_view::npos;
}

// One write, so that lines of several processes do not mix; a torn line before it is ended.
void append_line(const fs::path& log, const std::string& line) {
  const FileDescriptor file(log, O_RDWR | O_CREAT | O_APPEND, "opening", kSharedFile);
  std::byte last{'\n'};
  if (const std::uint64_t size = file.size(); size > 0) file.read_at(size - 1, {&last, 1});
  file.write_next(fmt::format("{}{}\n", last == std::byte{'\n'} ? "" : "\n", line));
}

template <typename T>
bool take(const ordered_json& line, const char* name, T& to) {
  const auto found = line.find(name);
  if (found == line.end() || !found->is_number_integer()) return false;
  to = found->get<T>();
  return true;
}

}  // namespace

// One for each path, until the process ends.
class FileDigests::Log {
 public:
  static Log& of(const fs::path& path) {
    static std::mutex mutex;
    static std::map<fs::path, Log> logs;
    const fs::path key = fs::absolute(path).lexically_normal();
    const std::lock_guard lock(mutex);
    return logs.try_emplace(key, key).first->second;
  }
  explicit Log(fs::path path) : path_(std::move(path)) {}

  // Takes in what was appended since; everything, where the last line that was read does not stand
  // where it stood (the log was removed or replaced).
  void refresh() {
    const std::lock_guard lock(mutex_);
    std::string text = bytes_from(end_ - last_line_.size());
    if (text.starts_with(last_line_)) {
      text.erase(0, last_line_.size());
    } else {
      known_.clear();
      last_line_.clear();
      end_ = 0;
      text = bytes_from(0);
    }
    for (std::size_t begin = 0, end; (end = text.find('\n', begin)) != std::string::npos;
         begin = end + 1) {
      last_line_ = text.substr(begin, end + 1 - begin);
      end_ += last_line_.size();
      take_in(last_line_);
    }
  }

  [[nodiscard]] std::string known(const std::string& key) const {
    const std::lock_guard lock(mutex_);
    const auto found = known_.find(key);
    return found == known_.end() ? "" : found->second;
  }

  // Where the line cannot be written the file is read again another time: that costs time, and
  // nothing else.
  void keep(const std::string& key, const std::string& sha256) {
    const std::lock_guard lock(mutex_);
    if (const auto found = known_.find(key); found != known_.end() && found->second == sha256)
      return;
    known_.insert_or_assign(key, sha256);
    try {
      make_folder(path_.parent_path());
      append_line(path_, sha256 == kWhole ? fmt::format(R"({{{},"whole":true}})", key)
                                          : fmt::format(R"({{{},"sha256":"{}"}})", key, sha256));
    } catch (const Error&) {
    }
  }

 private:
  // To the end of the log; empty where there is none.
  [[nodiscard]] std::string bytes_from(std::uint64_t offset) const {
    const FileDescriptor file = FileDescriptor::try_open(path_, O_RDONLY);
    if (!file.is_open() && (errno == ENOENT || errno == ENOTDIR)) return "";
    if (!file.is_open()) throw_file_error("reading", path_, errno);
    std::string bytes(std::max(file.size(), offset) - offset, '\0');
    bytes.resize(file.read_at_most(offset, std::as_writable_bytes(std::span(bytes))));
    return bytes;
  }

  void take_in(std::string_view text) {
    const auto line = ordered_json::parse(text, nullptr, false);
    Stamp stamp;
    if (!line.is_object() || !take(line, "device", stamp.device) ||
        !take(line, "inode", stamp.inode) || !take(line, "size", stamp.size) ||
        !take(line, "mtime_ns", stamp.mtime_ns) || !take(line, "ctime_ns", stamp.ctime_ns))
      return;
    const auto sha256 = line.find("sha256");
    const auto whole = line.find("whole");
    if (sha256 != line.end() && sha256->is_string() && is_sha256(sha256->get<std::string>()))
      known_.insert_or_assign(stamp.key(), sha256->get<std::string>());
    else if (whole != line.end() && *whole == true)
      known_.insert_or_assign(stamp.key(), kWhole);
  }

  fs::path path_;
  mutable std::mutex mutex_;
  std::unordered_map<std::string, std::string> known_;  // device, inode, size, times -> digest
  std::uint64_t end_ = 0;                               // of the last whole line that was read
  std::string last_line_;                               // with its newline
};

FileDigests::FileDigests(const std::filesystem::path& data_root)
    : log_(Log::of(data_root / "digests.jsonl")) {
  log_.refresh();
}

std::string FileDigests::known(const std::filesystem::path& file) const {
  const auto stamp = stamp_of(file);
  const std::string found = stamp ? log_.known(stamp->key()) : "";
  return found == kWhole ? "" : found;
}

void FileDigests::expect_whole(const std::filesystem::path& file,
                               const std::function<void()>& check) {
  const auto before = stamp_of(file);
  if (before && log_.known(before->key()) == kWhole) return;
  const bool settled = before && is_settled(*before);
  check();
  const auto after = stamp_of(file);
  if (settled && after && after->key() == before->key()) log_.keep(before->key(), kWhole);
}

void FileDigests::remember_whole(const std::filesystem::path& file) {
  if (const auto stamp = stamp_of(file)) log_.keep(stamp->key(), kWhole);
}

std::string FileDigests::sha256(const std::filesystem::path& file,
                                const std::function<void()>& tick) {
  const std::string before = known(file);
  return before.empty() ? sha256_again(file, tick) : before;
}

std::string FileDigests::sha256_again(const std::filesystem::path& file,
                                      const std::function<void()>& tick) {
  const auto named = stamp_of(file);
  const bool settled = named && is_settled(*named);
  const Digested found = digest(file, tick);
  if (settled) log_.keep(found.key, found.sha256);
  return found.sha256;
}

void FileDigests::remember(const std::filesystem::path& file, const std::string& sha256) {
  if (const auto stamp = stamp_of(file)) log_.keep(stamp->key(), sha256);
}

}  // namespace refract
