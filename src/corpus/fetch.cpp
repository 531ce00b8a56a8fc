#include "refract/corpus/fetch.hpp"

#include <curl/curl.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <memory>
#include <thread>

#include "refract/base/digest.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"

namespace refract {
namespace {

// The temporary file, open and locked: of two processes that want the same shard one fetches, the
// other waits.
class PartFile {
 public:
  explicit PartFile(fs::path path) : path_(std::move(path)) {
    do {
      close_file();
      file_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
      if (file_ < 0) throw_file_error("opening", path_, errno);
      lock();
    } while (!still_has_its_name());
  }
  ~PartFile() { close_file(); }
  PartFile(const PartFile&) = delete;
  PartFile& operator=(const PartFile&) = delete;

  [[nodiscard]] std::uint64_t size() const {
    struct stat status {};
    if (::fstat(file_, &status) != 0) throw_file_error("reading the size of", path_, errno);
    return static_cast<std::uint64_t>(status.st_size);
  }
  void clear() {
    if (::ftruncate(file_, 0) != 0) throw_file_error("emptying", path_, errno);
  }
  // False with errno set when the file system refuses.
  [[nodiscard]] bool append(const char* bytes, std::size_t count) {
    if (::lseek(file_, 0, SEEK_END) < 0) return false;
    while (count > 0) {
      const ssize_t written = ::write(file_, bytes, count);
      if (written < 0 && errno != EINTR) return false;
      if (written <= 0) continue;
      bytes += written;
      count -= static_cast<std::size_t>(written);
    }
    return true;
  }
  [[nodiscard]] const fs::path& path() const { return path_; }

 private:
  // Open-file-description locks: a plain fcntl lock ends when any descriptor of the file is closed.
  void lock() const {
    struct flock whole {};
    whole.l_type = F_WRLCK;
    whole.l_whence = SEEK_SET;
    while (::fcntl(file_, F_OFD_SETLKW, &whole) != 0) {
      if (errno == EINTR) continue;
      return;  // a file system without locks: two jobs that fetch the same shard at once are the
               // user's care
    }
  }
  // The one who held the lock may have renamed or removed the file while we waited.
  [[nodiscard]] bool still_has_its_name() const {
    struct stat open_file {
    }, named{};
    return ::fstat(file_, &open_file) == 0 && ::stat(path_.c_str(), &named) == 0 &&
           open_file.st_ino == named.st_ino;
  }
  void close_file() {
    if (file_ >= 0) ::close(file_);
    file_ = -1;
  }

  fs::path path_;
  int file_ = -1;
};

struct CloseHandle {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};
using Handle = std::unique_ptr<CURL, CloseHandle>;

void start_curl() {
  static const CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (code != CURLE_OK) throw SystemError("libcurl cannot start: {}", curl_easy_strerror(code));
}

struct Transfer {
  PartFile* part = nullptr;
  const FetchOptions* options = nullptr;
  CURL* handle = nullptr;
  bool resumed = false;
  bool begun = false;
  int write_error = 0;
};

std::size_t receive(char* bytes, std::size_t size, std::size_t count, void* target) {
  auto& transfer = *static_cast<Transfer*>(target);
  if (!transfer.begun && transfer.resumed) {
    long answer = 0;
    curl_easy_getinfo(transfer.handle, CURLINFO_RESPONSE_CODE, &answer);
    if (answer == 200) transfer.part->clear();  // the server sends the whole file, not the rest
  }
  transfer.begun = true;
  if (!transfer.part->append(bytes, size * count)) {
    transfer.write_error = errno;
    return 0;
  }
  if (transfer.options->advanced) transfer.options->advanced(size * count);
  return size * count;
}

struct Attempt {
  bool done = false;
  bool hopeless = false;  // trying again cannot help
  std::string reason;
};

Attempt outcome(CURLcode code, long answer, const char* text, bool resumed, PartFile& part) {
  if (code == CURLE_OK) return {true, false, ""};
  Attempt attempt{false, false, text[0] != '\0' ? text : curl_easy_strerror(code)};
  const bool no_range =
      code == CURLE_RANGE_ERROR || code == CURLE_BAD_DOWNLOAD_RESUME || answer == 416;
  if (no_range && resumed) part.clear();
  const bool client_error =
      answer >= 400 && answer < 500 && answer != 408 && answer != 416 && answer != 429;
  attempt.hopeless = client_error || code == CURLE_FILE_COULDNT_READ_FILE ||
                     code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_URL_MALFORMAT;
  return attempt;
}

// One attempt, from where the part file ends.
Attempt continue_fetching(const ShardRef& shard, PartFile& part, const FetchOptions& options) {
  const Handle handle(curl_easy_init());
  if (!handle) throw SystemError("libcurl cannot make a handle");
  const std::uint64_t have = part.size();
  Transfer transfer{&part, &options, handle.get(), have > 0, false, 0};
  std::array<char, CURL_ERROR_SIZE> text{};
  const auto set = [&handle](CURLoption option, auto value) {
    curl_easy_setopt(handle.get(), option, value);
  };
  set(CURLOPT_URL, shard.url.c_str());
  set(CURLOPT_WRITEFUNCTION, receive);
  set(CURLOPT_WRITEDATA, &transfer);
  set(CURLOPT_ERRORBUFFER, text.data());
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_FOLLOWLOCATION, 1L);
  set(CURLOPT_FAILONERROR, 1L);
  set(CURLOPT_CONNECTTIMEOUT, options.connect_timeout_s);
  set(CURLOPT_LOW_SPEED_LIMIT, 1L);
  set(CURLOPT_LOW_SPEED_TIME, options.stall_timeout_s);
  set(CURLOPT_RESUME_FROM_LARGE, static_cast<curl_off_t>(have));
  const CURLcode code = curl_easy_perform(handle.get());
  if (transfer.write_error != 0) throw_file_error("writing", part.path(), transfer.write_error);
  long answer = 0;
  curl_easy_getinfo(handle.get(), CURLINFO_RESPONSE_CODE, &answer);
  return outcome(code, answer, text.data(), transfer.resumed, part);
}

void fetch_bytes(const ShardRef& shard, PartFile& part, const FetchOptions& options) {
  if (shard.bytes != 0 && part.size() > shard.bytes) part.clear();
  for (int attempt = 1;; ++attempt) {
    if (shard.bytes != 0 && part.size() == shard.bytes) return;
    const Attempt result = continue_fetching(shard, part, options);
    if (result.done) return;
    if (result.hopeless || attempt >= options.attempts)
      throw SystemError(
          "cannot fetch {} (attempt {}): {}. What arrived is kept; run the same command again to "
          "go on",
          shard.url, attempt, result.reason);
    std::this_thread::sleep_for(std::chrono::seconds(1LL << std::min(attempt, 5)));
  }
}

FetchedFile verify(const ShardRef& shard, const fs::path& file) {
  const FetchedFile fetched{fs::file_size(file), sha256_of_file(file)};
  const bool right_size = shard.bytes == 0 || fetched.bytes == shard.bytes;
  const bool right_digest = shard.sha256.empty() || fetched.sha256 == shard.sha256;
  if (right_size && right_digest) return fetched;
  fs::remove(file);
  if (!right_size)
    throw DataError(
        "{} arrived with {} bytes, expected {}; it was removed, run the same command again",
        shard.url, fetched.bytes, shard.bytes);
  throw DataError(
      "{} arrived with SHA-256 {}, expected {}; it was removed, run the same command again",
      shard.url, fetched.sha256, shard.sha256);
}

}  // namespace

FetchedFile fetch(const ShardRef& shard, const fs::path& target, const FetchOptions& options) {
  start_curl();
  make_folder(target.parent_path());
  PartFile part(part_name(target));
  if (fs::exists(target)) {  // another process was faster
    fs::remove(part.path());
    return verify(shard, target);
  }
  fetch_bytes(shard, part, options);
  const FetchedFile fetched = verify(shard, part.path());
  sync_path(part.path());
  rename_durably(part.path(), target);
  return fetched;
}

}  // namespace refract
