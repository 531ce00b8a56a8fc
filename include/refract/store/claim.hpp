#pragma once
// Who may write. One claim serves a run, a raw shard or the index of them, a token shard, a context
// table, the registry of runs: a small file beside what is claimed, made by the owner and removed
// when it is done. Its record, one line (host, pid and its start, boot, pid namespace, job, token,
// counter), names the owner; a thread of the owner counts on in it as long as the process lives, in
// every phase.
//
// A claim is free when its file is absent, or stale:
//   where the owner ran under this boot and pid namespace, that process decides: stale when it is
//   gone (or a zombie, or the pid is another process's now), else it lives, whatever the counter
//   says;
//   for any other owner: nobody holds the file's lock, where the file system has locks, and the
//   counter stands still for three beats; else the counter stood still for five minutes by the
//   waiter's own clock. Never a file's time.
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace refract {

// What other ranks of the owner's job need in order to ask whether the claim is still theirs.
struct ClaimMark {
  std::filesystem::path file;
  std::string token;  // empty: no claim; expect_own then passes
};
// SystemError naming the present owner when the claim is no longer the mark's. Before every line of
// a ledger and every rename of what is claimed; any thread.
void expect_own(const ClaimMark& mark);

struct ClaimTimes {  // shorter in tests
  double beat_s = 5, stale_s = 300;
  bool locks = true;  // false: as on a file system that has none
};

class Claim {
 public:
  // Takes it, or says in `owner` who has it ("pid 12 on host n1, job slurm-7"). Looks on for as
  // long as the rules above need to call it stale, so that a requeued job takes over from a dead
  // one: idle() is called meanwhile, a few times a second, and may throw. The folder is made where
  // it is missing; SystemError when no file can be made there. Whoever takes it removes what
  // processes of this boot and pid namespace that are gone left beside it ("<file>.<token>").
  [[nodiscard]] static std::optional<Claim> try_take(const std::filesystem::path& file,
                                                     std::string_view job, std::string& owner,
                                                     const std::function<void()>& idle = {},
                                                     const ClaimTimes& times = {});
  // Takes it as soon as its owner has finished or died; a living owner is waited for without end.
  // Never for a claim that this process holds itself.
  [[nodiscard]] static Claim wait_for(const std::filesystem::path& file, std::string_view job,
                                      const std::function<void()>& idle = {},
                                      const ClaimTimes& times = {});
  ~Claim();  // ends the thread; removes the file if it is still its own
  Claim(Claim&&) noexcept;
  Claim& operator=(Claim&&) noexcept;

  [[nodiscard]] const ClaimMark& mark() const;

 private:
  class Body;
  explicit Claim(std::unique_ptr<Body> body);
  std::unique_ptr<Body> body_;
};

// Who holds the claim, as try_take would say it, without taking it or changing anything; nothing
// when it is free.
[[nodiscard]] std::optional<std::string> claim_owner(const std::filesystem::path& file,
                                                     const std::function<void()>& idle = {},
                                                     const ClaimTimes& times = {});

// One look, from any machine, by a user who may only read; it waits for nothing and changes
// nothing.
struct ClaimSight {
  enum class Sign {
    absent,     // free
    living,     // the owner's process is here, and lives
    gone,       // it was here, and is gone
    elsewhere,  // nothing that can be seen at once decides
  };
  Sign sign = Sign::absent;
  std::string owner;   // as try_take says it
  std::string job;     // empty where the record cannot be read
  std::string record;  // other than before: a beat of a living owner
};
[[nodiscard]] ClaimSight look_at_claim(const std::filesystem::path& file);

// "<name>.claim" beside it.
[[nodiscard]] std::filesystem::path claim_name(const std::filesystem::path& claimed);

}  // namespace refract
