// Making: the record is written under a name of its own and linked to the claim's name, so that a
// claim never is a half-written file, and link(2) says who was first (open(2) with O_EXCL where
// there are no links). The lock is taken before the link: a claim whose file is seen is locked.
// Taking over: the heir's file and the stale one exchange names in one step, and what was exchanged
// is looked at again; where it is not the file that was judged, they change back. So the name is
// never free meanwhile. File systems that cannot exchange: the stale file is renamed away. With
// locks only the holder of the stale file's lock may do so, and no two can be at it.
#include "refract/store/claim.hpp"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <random>
#include <stop_token>
#include <thread>

#include "refract/base/digest.hpp"
#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/base/machine.hpp"
#include "refract/base/numbers.hpp"
#include "refract/base/progress.hpp"
#include "refract/comm/environment.hpp"

namespace refract {
namespace {

constexpr double kLongestPause_s = 0.2;
constexpr double kBeatsWithoutLock = 3;

struct Identity {
  dev_t device = 0;
  ino_t inode = 0;
  friend bool operator==(const Identity&, const Identity&) = default;
};

std::optional<Identity> identity_of(int descriptor) {
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) return std::nullopt;
  return Identity{status.st_dev, status.st_ino};
}
std::optional<Identity> identity_of(const fs::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return std::nullopt;
  return Identity{status.st_dev, status.st_ino};
}

enum class Lock { taken, held, unknown };  // unknown: the file system has none

// Of the open file, not of the process: closing another descriptor of it does not end the lock.
Lock lock(int descriptor) {
  struct flock whole {};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  if (::fcntl(descriptor, F_OFD_SETLK, &whole) == 0) return Lock::taken;
  return errno == EAGAIN || errno == EACCES ? Lock::held : Lock::unknown;
}

void unlock(int descriptor) {
  struct flock whole {};
  whole.l_type = F_UNLCK;
  whole.l_whence = SEEK_SET;
  ::fcntl(descriptor, F_OFD_SETLK, &whole);
}

std::string first_line(const char* path) {
  try {
    const std::string text = read_file(path);
    return text.substr(0, text.find('\n'));
  } catch (const Error&) {
    return "";
  }
}

// "pid:[4026531836]" -> 4026531836; 0 where the system does not tell.
std::uint64_t pid_namespace() {
  std::array<char, 64> text{};
  const ssize_t size = ::readlink("/proc/self/ns/pid", text.data(), text.size());
  const std::string_view name(text.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
  const std::size_t open = name.find('['), close = name.find(']');
  if (open == std::string_view::npos || close == std::string_view::npos) return 0;
  return parse_count(name.substr(open + 1, close - open - 1)).value_or(0);
}

struct Process {
  char state = '?';
  std::uint64_t start = 0;  // ticks of the clock since boot: what tells a pid from its next use
};

// Nothing where /proc does not show it.
std::optional<Process> process(std::uint64_t pid) {
  const std::string line = first_line(fmt::format("/proc/{}/stat", pid).c_str());
  const std::size_t name_end = line.rfind(')');  // the name may hold anything
  if (name_end == std::string::npos || name_end + 2 >= line.size()) return std::nullopt;
  Process found{line[name_end + 2], 0};
  constexpr int kStartAfterState = 19;  // proc(5): state is field 3, starttime field 22
  std::size_t at = name_end + 2;
  for (int field = 0; field < kStartAfterState && at != std::string::npos; ++field)
    at = line.find(' ', at + 1);
  if (at == std::string::npos) return std::nullopt;
  const std::size_t end = line.find(' ', at + 1);
  found.start = parse_count(std::string_view(line).substr(at + 1, end - at - 1)).value_or(0);
  return found;
}

struct Record {
  std::string host, boot, job, token;
  std::uint64_t pid = 0, start = 0, pid_namespace = 0, counter = 0;
};

// One line of one length whatever the counter, so that a beat overwrites it in place.
std::string text_of(const Record& record) {
  return fmt::format(
      "host {} pid {} start {} boot {} pid_namespace {} job {} token {} counter {:020}\n",
      record.host, record.pid, record.start, record.boot, record.pid_namespace, record.job,
      record.token, record.counter);
}

std::string word(std::string_view text) {
  std::string one(text.empty() ? "-" : text);
  for (char& c : one)
    if (static_cast<unsigned char>(c) <= ' ') c = '_';
  return one;
}

// Empty fields where the text is not a record.
Record record_from(std::string_view text) {
  Record record;
  const auto next = [&text] {
    text.remove_prefix(std::min(text.find_first_not_of(" \n"), text.size()));
    const std::string_view found = text.substr(0, text.find_first_of(" \n"));
    text.remove_prefix(found.size());
    return found;
  };
  while (true) {
    const std::string_view name = next(), value = next();
    if (value.empty()) return record;
    if (name == "host") record.host = value;
    if (name == "boot") record.boot = value;
    if (name == "job") record.job = value;
    if (name == "token") record.token = value;
    if (name == "pid") record.pid = parse_count(value).value_or(0);
    if (name == "start") record.start = parse_count(value).value_or(0);
    if (name == "pid_namespace") record.pid_namespace = parse_count(value).value_or(0);
    if (name == "counter") record.counter = parse_count(value).value_or(0);
  }
}

std::string describe(const Record& record) {
  if (record.pid == 0) return "a process whose record cannot be read";
  return fmt::format("pid {} on host {}, job {}", record.pid, record.host, record.job);
}

Record own_record(std::string_view job) {
  Record record;
  record.host = word(host_name());
  record.boot = boot_id();
  record.job = word(job);
  record.pid = static_cast<std::uint64_t>(::getpid());
  record.pid_namespace = pid_namespace();
  if (const auto self = process(record.pid)) record.start = self->start;
  std::random_device random;
  record.token = hex(std::uint64_t{random()} << 32 | random());
  return record;
}

bool same_machine(const Record& a, const Record& b) {
  return a.boot == b.boot && a.boot != "-" && !a.boot.empty() &&
         a.pid_namespace == b.pid_namespace && a.pid_namespace != 0 && a.pid != 0;
}

bool is_gone(const Record& owner) {
  if (::kill(static_cast<pid_t>(owner.pid), 0) != 0 && errno == ESRCH) return true;
  const auto found = process(owner.pid);
  if (!found) return false;  // /proc may hide what belongs to others
  return found->state == 'Z' || found->state == 'X' || found->start != owner.start;
}

// Empty where it cannot be read: a file that was removed on another host may be stale here.
std::string read_open(const FileDescriptor& file) {
  std::string text(1024, '\0');
  try {
    text.resize(file.read_at_most(0, std::as_writable_bytes(std::span(text))));
  } catch (const SystemError&) {
    text.clear();
  }
  return text;
}

fs::path beside(const fs::path& file, const std::string& token) {
  return file.string() + "." + token;
}

struct Made {
  FileDescriptor file;
  std::string token;
};

constexpr int kNew = O_RDWR | O_CREAT | O_EXCL;

// Into a new file, locked.
void write_record(const FileDescriptor& made, const Record& record, bool locks) {
  if (locks) (void)lock(made.number());
  try {
    made.write_at(0, text_of(record));
    made.sync();
  } catch (...) {
    ::unlink(made.path().c_str());
    throw;
  }
}

// O_EXCL, for file systems without links.
std::optional<Made> make_exclusively(const fs::path& file, const Record& record, bool locks) {
  FileDescriptor made = FileDescriptor::try_open(file, kNew, kSharedFile);
  if (!made.is_open() && errno == EEXIST) return std::nullopt;
  if (!made.is_open()) throw_file_error("claiming", file, errno);
  write_record(made, record, locks);
  return Made{std::move(made), record.token};
}

// The record under a name of its own, locked.
FileDescriptor write_own(const fs::path& own, const Record& record, bool locks) {
  FileDescriptor made(own, kNew, "claiming", kSharedFile);
  write_record(made, record, locks);
  return made;
}

// Nothing when another was first.
std::optional<Made> make(const fs::path& file, std::string_view job, bool locks) {
  const Record record = own_record(job);
  const fs::path own = beside(file, record.token);
  FileDescriptor made = write_own(own, record, locks);
  int error = ::link(own.c_str(), file.c_str()) == 0 ? 0 : errno;
  struct stat status {};  // a network file system may lose the answer to a link that was made
  if (error == EEXIST && ::fstat(made.number(), &status) == 0 && status.st_nlink == 2) error = 0;
  ::unlink(own.c_str());
  if (error == 0) return Made{std::move(made), record.token};
  if (error == EEXIST) return std::nullopt;
  if (error == EPERM || error == EOPNOTSUPP || error == ENOSYS || error == EMLINK)
    return make_exclusively(file, record, locks);
  throw_file_error("claiming", file, error);
}

bool is_own_name(std::string_view name, std::string_view claim) {
  constexpr std::size_t kTokenDigits = 16;
  return name.size() == claim.size() + 1 + kTokenDigits && name.starts_with(claim) &&
         name[claim.size()] == '.' &&
         name.find_first_not_of("0123456789abcdef", claim.size() + 1) == std::string_view::npos;
}

// Killed before its record was whole: nobody's, once it is older than the claim, by the file
// system's own clock, by more than a process takes from making a file to filling it.
bool never_finished(const fs::path& own, const Record& owner, const fs::path& claim) {
  constexpr std::chrono::seconds kUnfinished{30};
  std::error_code failed;
  const auto made = fs::last_write_time(own, failed), now = fs::last_write_time(claim, failed);
  return owner.token.empty() && !failed && now - made > kUnfinished;
}

// What killed processes left beside the claim, by its owner: while another has the claim, a name
// of its own may hold the stale file that it is about to judge again.
void remove_leftovers(const fs::path& file) {
  const Record self = own_record("");
  const std::string claim = file.filename();
  std::error_code none;
  const fs::path folder = file.has_parent_path() ? file.parent_path() : fs::path(".");
  for (fs::directory_iterator entry(folder, none), end; !none && entry != end;
       entry.increment(none)) {
    if (!is_own_name(entry->path().filename().native(), claim)) continue;
    const FileDescriptor open = FileDescriptor::try_open(entry->path(), O_RDONLY);
    if (!open.is_open()) continue;
    const Record owner = record_from(read_open(open));
    const bool dead = same_machine(owner, self) && is_gone(owner);
    if (dead || never_finished(entry->path(), owner, file)) ::unlink(entry->path().c_str());
  }
}

// The present owner's file, judged by what is seen of it over time.
class Watch {
 public:
  enum class Verdict { absent, living, stale, unsure };

  Watch(fs::path file, const ClaimTimes& times)
      : file_(std::move(file)), times_(times), self_(own_record("")) {}

  [[nodiscard]] Verdict look() {
    open_ = FileDescriptor::try_open(file_, O_RDWR);
    writable_ = open_.is_open();
    if (!writable_ && errno != ENOENT) open_ = FileDescriptor::try_open(file_, O_RDONLY);
    if (!open_.is_open()) {
      if (errno == ENOENT || errno == ESTALE) return Verdict::absent;
      throw_file_error("reading the claim", file_, errno);
    }
    const auto seen = identity_of(open_.number());
    const std::string text = read_open(open_);
    const double now = monotonic_s();
    const bool first = seen != identity_;
    const bool moved = !first && text != text_;
    if (first || moved) since_s_ = now;
    identity_ = seen;
    text_ = text;
    owner_ = record_from(text);
    if (same_machine(owner_, self_)) return is_gone(owner_) ? Verdict::stale : Verdict::living;
    if (moved) return Verdict::living;
    const double still_s = now - since_s_;
    if (still_s >= times_.stale_s) return Verdict::stale;
    if (still_s < kBeatsWithoutLock * times_.beat_s || !may_lock()) return Verdict::unsure;
    const Lock found = lock(open_.number());
    if (found == Lock::taken) unlock(open_.number());
    return found == Lock::taken ? Verdict::stale : Verdict::unsure;
  }

  // After the verdict `stale`. Nothing when someone else took it over, or it lives; or when the
  // stale file is gone now and the name is free.
  [[nodiscard]] std::optional<Made> take_over(std::string_view job) {
    if (may_lock() && lock(open_.number()) == Lock::held &&
        monotonic_s() - since_s_ < times_.stale_s)
      return std::nullopt;
    if (identity_of(file_) != identity_ || read_open(open_) != text_) return std::nullopt;
    const Record record = own_record(job);
    const fs::path own = beside(file_, record.token);
    FileDescriptor made = write_own(own, record, times_.locks);
    const auto exchange = [&] {
      return ::renameat2(AT_FDCWD, own.c_str(), AT_FDCWD, file_.c_str(), RENAME_EXCHANGE) == 0;
    };
    const bool exchanged = exchange();
    const bool cannot = !exchanged && errno != ENOENT;
    const bool judged = exchanged && identity_of(own) == identity_;
    if (exchanged && !judged) (void)exchange();
    ::unlink(own.c_str());
    if (judged) return Made{std::move(made), record.token};
    if (cannot) (void)remove();
    return std::nullopt;
  }

  [[nodiscard]] std::string owner() const { return describe(owner_); }

 private:
  [[nodiscard]] bool remove() {
    const fs::path aside = beside(file_, self_.token);
    if (::rename(file_.c_str(), aside.c_str()) != 0) return false;
    const bool judged = identity_of(aside) == identity_;
    if (!judged) (void)::link(aside.c_str(), file_.c_str());
    ::unlink(aside.c_str());
    return judged;
  }
  [[nodiscard]] bool may_lock() const { return times_.locks && writable_; }

  fs::path file_;
  ClaimTimes times_;
  Record self_, owner_;
  FileDescriptor open_;
  bool writable_ = false;
  std::optional<Identity> identity_;
  std::string text_;
  double since_s_ = 0;
};

enum class Living { refuses, is_waited_for };

std::optional<Made> take(const fs::path& file, std::string_view job, Living living,
                         std::string& owner, const std::function<void()>& idle,
                         const ClaimTimes& times) {
  const auto taken = [&file](std::optional<Made>&& made) {
    remove_leftovers(file);
    return std::move(made);
  };
  if (file.has_parent_path()) make_folder(file.parent_path());
  const std::chrono::duration<double> pause(std::min(kLongestPause_s, times.beat_s / 4));
  Watch watch(file, times);
  while (true) {
    switch (watch.look()) {
      case Watch::Verdict::absent:
        if (auto made = make(file, job, times.locks)) return taken(std::move(made));
        continue;
      case Watch::Verdict::stale:
        if (auto made = watch.take_over(job)) return taken(std::move(made));
        break;
      case Watch::Verdict::living:
        owner = watch.owner();
        if (living == Living::refuses) return std::nullopt;
        break;
      case Watch::Verdict::unsure: break;
    }
    if (idle) idle();
    std::this_thread::sleep_for(pause);
  }
}

// Signals are for the main thread: a thread started while all are blocked has them blocked.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;

 private:
  sigset_t before_{};
};

}  // namespace

class Claim::Body {
 public:
  Body(const fs::path& file, Made made, double beat_s)
      : mark_{file, std::move(made.token)}, file_(std::move(made.file)) {
    const SignalsBlocked blocked;
    thread_ = std::jthread([this, beat_s](const std::stop_token& stop) { beat(stop, beat_s); });
  }
  ~Body() {
    thread_.request_stop();
    thread_.join();
    if (identity_of(mark_.file) == identity_of(file_.number())) ::unlink(mark_.file.c_str());
  }
  Body(const Body&) = delete;
  [[nodiscard]] const ClaimMark& mark() const { return mark_; }

 private:
  // A beat that cannot be written is missed: the next may be, and the owner asks expect_own.
  void beat(const std::stop_token& stop, double beat_s) {
    Record record = record_from(read_open(file_));
    std::mutex mutex;
    std::condition_variable_any stopped;
    std::unique_lock lock(mutex);
    while (!stopped.wait_for(lock, stop, std::chrono::duration<double>(beat_s),
                             [&stop] { return stop.stop_requested(); })) {
      ++record.counter;
      // Synced: on a network file system others see what left this client.
      try {
        file_.write_at(0, text_of(record));
        file_.sync_data();
      } catch (const SystemError&) {
      }
    }
  }

  ClaimMark mark_;
  FileDescriptor file_;
  std::jthread thread_;
};

Claim::Claim(std::unique_ptr<Body> body) : body_(std::move(body)) {}
Claim::~Claim() = default;
Claim::Claim(Claim&&) noexcept = default;
Claim& Claim::operator=(Claim&&) noexcept = default;
const ClaimMark& Claim::mark() const { return body_->mark(); }

std::optional<Claim> Claim::try_take(const fs::path& file, std::string_view job, std::string& owner,
                                     const std::function<void()>& idle, const ClaimTimes& times) {
  auto made = take(file, job, Living::refuses, owner, idle, times);
  if (!made) return std::nullopt;
  return Claim(std::make_unique<Body>(file, std::move(*made), times.beat_s));
}

Claim Claim::wait_for(const fs::path& file, std::string_view job, const std::function<void()>& idle,
                      const ClaimTimes& times) {
  std::string owner;
  auto made = take(file, job, Living::is_waited_for, owner, idle, times);
  return Claim(std::make_unique<Body>(file, std::move(*made), times.beat_s));
}

std::optional<std::string> claim_owner(const fs::path& file, const std::function<void()>& idle,
                                       const ClaimTimes& times) {
  const std::chrono::duration<double> pause(std::min(kLongestPause_s, times.beat_s / 4));
  Watch watch(file, times);
  while (true) {
    const Watch::Verdict verdict = watch.look();
    if (verdict == Watch::Verdict::living) return watch.owner();
    if (verdict != Watch::Verdict::unsure) return std::nullopt;
    if (idle) idle();
    std::this_thread::sleep_for(pause);
  }
}

ClaimSight look_at_claim(const fs::path& file) {
  using Sign = ClaimSight::Sign;
  const FileDescriptor open = FileDescriptor::try_open(file, O_RDONLY);
  if (!open.is_open() && (errno == ENOENT || errno == ESTALE)) return {};
  if (!open.is_open()) throw_file_error("reading the claim", file, errno);
  const std::string text = read_open(open);
  const Record owner = record_from(text);
  const Sign sign = !same_machine(owner, own_record("")) ? Sign::elsewhere
                    : is_gone(owner)                     ? Sign::gone
                                                         : Sign::living;
  return {.sign = sign, .owner = describe(owner), .job = owner.job, .record = text};
}

void expect_own(const ClaimMark& mark) {
  if (mark.token.empty()) return;
  using namespace std::chrono_literals;
  constexpr int kLooks = 20;  // a waiter that misjudged gives the name back at once
  Record present;
  for (int look = 0; look < kLooks; ++look) {
    const FileDescriptor open = FileDescriptor::try_open(mark.file, O_RDONLY);
    if (open.is_open()) present = record_from(read_open(open));
    if (present.token == mark.token) return;
    std::this_thread::sleep_for(10ms);
  }
  throw SystemError(
      "{} is no longer this process's: {}. Nothing more is written here; start again once no other "
      "job works on it",
      mark.file.string(),
      present.pid == 0 ? "it was removed" : "it was taken over by " + describe(present));
}

fs::path claim_name(const fs::path& claimed) { return claimed.string() + ".claim"; }

}  // namespace refract
