#include "refract/corpus/fetch.hpp"

#include <curl/curl.h>

#include <array>
#include <chrono>
#include <exception>
#include <memory>
#include <thread>

#include "refract/base/digest.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"

namespace refract {
namespace {

struct CloseHandle {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};
using Handle = std::unique_ptr<CURL, CloseHandle>;

void start_curl() {
  static const CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (code != CURLE_OK) throw SystemError("libcurl cannot start: {}", curl_easy_strerror(code));
}

struct Transfer {
  const FileDescriptor* part = nullptr;
  const FetchOptions* options = nullptr;
  CURL* handle = nullptr;
  bool resumed = false;
  bool begun = false;
  std::exception_ptr failure;  // must not pass through libcurl

  // False when the transfer is to end.
  bool advance(std::string_view bytes) {
    try {
      if (!bytes.empty()) write(bytes);
      if (options->advanced) options->advanced(bytes.size());
    } catch (...) {
      failure = std::current_exception();
    }
    return failure == nullptr;
  }

 private:
  void write(std::string_view bytes) {
    if (resumed && !begun) {
      long answer = 0;
      curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &answer);
      if (answer == 200) part->truncate(0);  // the server sends the whole file, not the rest
    }
    begun = true;
    part->write_next(bytes);
  }
};

std::size_t receive(char* bytes, std::size_t size, std::size_t count, void* target) {
  return static_cast<Transfer*>(target)->advance({bytes, size * count}) ? size * count : 0;
}

// Also called while nothing comes.
int still_there(void* target, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return static_cast<Transfer*>(target)->advance({}) ? 0 : 1;
}

struct Attempt {
  bool done = false;
  bool hopeless = false;  // trying again cannot help
  std::string reason;
};

Attempt outcome(CURLcode code, long answer, const char* text, bool resumed,
                const FileDescriptor& part) {
  if (code == CURLE_OK) return {true, false, ""};
  Attempt attempt{false, false, text[0] != '\0' ? text : curl_easy_strerror(code)};
  const bool no_range =
      code == CURLE_RANGE_ERROR || code == CURLE_BAD_DOWNLOAD_RESUME || answer == 416;
  if (no_range && resumed) part.truncate(0);
  const bool client_error =
      answer >= 400 && answer < 500 && answer != 408 && answer != 416 && answer != 429;
  attempt.hopeless = client_error || code == CURLE_FILE_COULDNT_READ_FILE ||
                     code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_URL_MALFORMAT;
  return attempt;
}

// One attempt, from where the part file ends.
Attempt continue_fetching(const ShardRef& shard, const FileDescriptor& part,
                          const FetchOptions& options) {
  const Handle handle(curl_easy_init());
  if (!handle) throw SystemError("libcurl cannot make a handle");
  const std::uint64_t have = part.size();
  Transfer transfer{&part, &options, handle.get(), have > 0, false, nullptr};
  std::array<char, CURL_ERROR_SIZE> text{};
  const auto set = [&handle](CURLoption option, auto value) {
    curl_easy_setopt(handle.get(), option, value);
  };
  set(CURLOPT_URL, shard.url.c_str());
  set(CURLOPT_WRITEFUNCTION, receive);
  set(CURLOPT_WRITEDATA, &transfer);
  set(CURLOPT_XFERINFOFUNCTION, still_there);
  set(CURLOPT_XFERINFODATA, &transfer);
  set(CURLOPT_NOPROGRESS, 0L);
  set(CURLOPT_ERRORBUFFER, text.data());
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_FOLLOWLOCATION, 1L);
  set(CURLOPT_FAILONERROR, 1L);
  set(CURLOPT_CONNECTTIMEOUT, options.connect_timeout_s);
  set(CURLOPT_LOW_SPEED_LIMIT, 1L);
  set(CURLOPT_LOW_SPEED_TIME, options.stall_timeout_s);
  set(CURLOPT_RESUME_FROM_LARGE, static_cast<curl_off_t>(have));
  const CURLcode code = curl_easy_perform(handle.get());
  if (transfer.failure) std::rethrow_exception(transfer.failure);
  long answer = 0;
  curl_easy_getinfo(handle.get(), CURLINFO_RESPONSE_CODE, &answer);
  return outcome(code, answer, text.data(), transfer.resumed, part);
}

void rest(int seconds, const FetchOptions& options) {
  using namespace std::chrono_literals;
  constexpr int kPerSecond = 5;
  for (int i = 0; i < seconds * kPerSecond; ++i) {
    if (options.advanced) options.advanced(0);
    std::this_thread::sleep_for(1000ms / kPerSecond);
  }
}

void fetch_bytes(const ShardRef& shard, const FileDescriptor& part, const FetchOptions& options) {
  if (shard.bytes != 0 && part.size() > shard.bytes) part.truncate(0);
  for (int attempt = 1;; ++attempt) {
    if (shard.bytes != 0 && part.size() == shard.bytes) return;
    const Attempt result = continue_fetching(shard, part, options);
    if (result.done) return;
    if (result.hopeless || attempt >= options.attempts)
      throw SystemError(
          "cannot fetch {} (attempt {}): {}. What arrived is kept; run the same command again to "
          "go on",
          shard.url, attempt, result.reason);
    rest(1 << std::min(attempt, 5), options);
  }
}

FetchedFile verify(const ShardRef& shard, const fs::path& file, const FetchOptions& options) {
  REFRACT_ASSERT(shard.hash.empty() || shard.hash_kind == "sha256", "{} has a hash of kind {}",
                 shard.name, shard.hash_kind);
  const auto tick = [&options] {
    if (options.advanced) options.advanced(0);
  };
  const FetchedFile fetched{fs::file_size(file), sha256_of_file(file, tick)};
  const bool right_size = shard.bytes == 0 || fetched.bytes == shard.bytes;
  const bool right_digest = shard.hash.empty() || fetched.sha256 == shard.hash;
  if (right_size && right_digest) return fetched;
  fs::remove(file);
  if (!right_size)
    throw DataError(
        "{} arrived with {} bytes, expected {}; it was removed, run the same command again",
        shard.url, fetched.bytes, shard.bytes);
  throw DataError(
      "{} arrived with SHA-256 {}, expected {}; it was removed, run the same command again",
      shard.url, fetched.sha256, shard.hash);
}

}  // namespace

FetchedFile fetch(const ShardRef& shard, const fs::path& target, const FetchOptions& options) {
  start_curl();
  make_folder(target.parent_path());
  const FileDescriptor part(part_name(target), O_RDWR | O_CREAT | O_APPEND, "opening", kSharedFile);
  fetch_bytes(shard, part, options);
  const FetchedFile fetched = verify(shard, part.path(), options);
  part.sync();
  if (options.before_rename) options.before_rename();
  rename_durably(part.path(), target);
  return fetched;
}

}  // namespace refract
