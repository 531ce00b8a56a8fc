#include "emulated/arena.hpp"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif
#include "emulated/block.hpp"
#include "emulated/races.hpp"

namespace refract::emulated {
namespace {

constexpr std::size_t kAlignment = 64;
constexpr std::byte kFresh{0xFF};  // NaN: CUDA promises nothing of new memory
constexpr std::byte kPast{0xA5};

std::size_t page_bytes() {
  static const auto bytes = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  return bytes;
}
std::size_t round_up(std::size_t bytes, std::size_t to) { return (bytes + to - 1) / to * to; }

struct Allocation {
  std::size_t bytes;
  std::byte* first_page;
  std::size_t pages_bytes;
};

class Arena {
 public:
  Arena() {
    // A file without bytes: whatever its protection, touching it is a SIGBUS. So one mprotect opens
    // all allocations and none of the pages between them.
    empty_file_ = memfd_create("refract-emulated", MFD_CLOEXEC);
    void* base = mmap(nullptr, kArena_bytes, PROT_NONE, MAP_SHARED | MAP_NORESERVE, empty_file_, 0);
    if (empty_file_ < 0 || base == MAP_FAILED) {
      std::perror("emulated device memory");
      std::abort();
    }
    base_ = static_cast<std::byte*>(base);
  }

  void* allocate(std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    const std::size_t pages = round_up(std::max<std::size_t>(bytes, 1), page_bytes());
    if (bytes > kArena_bytes || used_ + pages + page_bytes() > kArena_bytes) return nullptr;
    std::byte* first = base_ + used_;
    if (mmap(first, pages, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) == MAP_FAILED)
      return nullptr;
    used_ += pages + page_bytes();
    std::byte* data = first + pages - round_up(bytes, kAlignment);
    std::memset(data, static_cast<int>(kFresh), bytes);
    std::memset(data + bytes, static_cast<int>(kPast), round_up(bytes, kAlignment) - bytes);
#if defined(__SANITIZE_ADDRESS__)
    __asan_poison_memory_region(first, data - first);
    __asan_poison_memory_region(data + bytes, round_up(bytes, kAlignment) - bytes);
#endif
    if (open_ == 0) mprotect(first, pages, PROT_NONE);
    allocations_[data] = {bytes, first, pages};
    return data;
  }

  bool release(std::byte* data) {
    const std::lock_guard lock(mutex_);
    const auto found = allocations_.find(data);
    if (found == allocations_.end()) return false;
    const auto [bytes, first, pages] = found->second;
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(first, pages);
#endif
    allocations_.erase(found);
    forget_accesses(first, pages);
    return mmap(first, pages, open_ == 0 ? PROT_NONE : PROT_READ | PROT_WRITE,
                MAP_SHARED | MAP_FIXED | MAP_NORESERVE, empty_file_, first - base_) != MAP_FAILED;
  }

  std::byte* base() const { return base_; }
  bool contains(const void* address) const {
    const auto at = reinterpret_cast<std::uintptr_t>(address),
               first = reinterpret_cast<std::uintptr_t>(base_);
    return at >= first && at < first + kArena_bytes;
  }

  void open() {
    const std::lock_guard lock(mutex_);
    if (open_++ == 0 && used_ != 0) mprotect(base_, used_, PROT_READ | PROT_WRITE);
  }
  void close() {
    const std::lock_guard lock(mutex_);
    if (--open_ == 0 && used_ != 0) mprotect(base_, used_, PROT_NONE);
  }

#if defined(__SANITIZE_ADDRESS__)
  std::string overwritten() { return {}; }  // seen where it happens
#else
  std::string overwritten() {
    const std::lock_guard lock(mutex_);
    for (const auto& [data, allocation] : allocations_)
      for (std::size_t i = allocation.bytes; i < round_up(allocation.bytes, kAlignment); ++i)
        if (data[i] != kPast) {
          data[i] = kPast;
          return fmt::format("byte {} of an allocation of {} bytes was written", i,
                             allocation.bytes);
        }
    return {};
  }
#endif

  // For a handler of signals: no lock, the process is about to end.
  void describe(const std::byte* at, char* text, std::size_t size) const {
    auto next = allocations_.upper_bound(const_cast<std::byte*>(at));
    if (next == allocations_.begin()) {
      std::snprintf(text, size, "memory that was freed, or never allocated");
      return;
    }
    const auto& [data, allocation] = *--next;
    std::snprintf(text, size, "byte %td of an allocation of %zu bytes", at - data,
                  allocation.bytes);
  }

 private:
  std::mutex mutex_;
  int empty_file_ = -1;
  std::byte* base_ = nullptr;
  std::size_t used_ = 0;
  int open_ = 0;
  std::map<std::byte*, Allocation> allocations_;
};

// Says who touched what, then lets the fault take its course.
struct sigaction previous_segv, previous_bus;
void on_fault(int signal, siginfo_t* info, void*);
void install_fault_handler() {
  struct sigaction action {};
  action.sa_sigaction = &on_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigaction(SIGSEGV, &action, &previous_segv);
  sigaction(SIGBUS, &action, &previous_bus);
  // A fiber that ran into its guard page has no room for a handler.
  alignas(16) static std::array<std::byte, 65536> stack;
  stack_t current{};
  sigaltstack(nullptr, &current);
  if ((current.ss_flags & SS_DISABLE) != 0) {
    const stack_t ours{stack.data(), 0, stack.size()};
    sigaltstack(&ours, nullptr);
  }
}

// Never destroyed: device memory may be freed by static objects.
std::array<Arena, kDevices>& arenas() {
  static auto* const all = [] {
    install_fault_handler();
    return new std::array<Arena, kDevices>;
  }();
  return *all;
}

void on_fault(int signal, siginfo_t* info, void*) {
  const int device = device_of(info->si_addr);
  if (device >= 0) {
    std::array<char, 128> what{};
    std::array<char, 384> text{};
    arenas()[static_cast<std::size_t>(device)].describe(
        static_cast<const std::byte*>(info->si_addr), what.data(), what.size());
    const char* who = running_thread();
    const int size =
        std::snprintf(text.data(), text.size(),
                      "emulated CUDA: %s touched %s of device %d (REFRACT_TEST_SEED=%llu)\n",
                      *who != '\0' ? who : "the host", what.data(), device,
                      static_cast<unsigned long long>(seed()));
    if (write(STDERR_FILENO, text.data(), static_cast<std::size_t>(size)) < 0) std::abort();
  }
  // The instruction runs again, and faults again.
  sigaction(signal, signal == SIGSEGV ? &previous_segv : &previous_bus, nullptr);
}

}  // namespace

void* allocate(int device, std::size_t bytes) {
  return arenas()[static_cast<std::size_t>(device)].allocate(bytes);
}

bool release(void* data) {
  const int device = device_of(data);
  return device >= 0 &&
         arenas()[static_cast<std::size_t>(device)].release(static_cast<std::byte*>(data));
}

int device_of(const void* address) {
  for (int device = 0; device < kDevices; ++device)
    if (arenas()[static_cast<std::size_t>(device)].contains(address)) return device;
  return -1;
}

std::byte* base_of(int device) { return arenas()[static_cast<std::size_t>(device)].base(); }

std::string describe(const void* address) {
  std::array<char, 128> text{};
  arenas()[static_cast<std::size_t>(device_of(address))].describe(
      static_cast<const std::byte*>(address), text.data(), text.size());
  return text.data();
}

Open::Open(int device) : device_(device) {
  if (device_ >= 0) arenas()[static_cast<std::size_t>(device_)].open();
}
Open::~Open() {
  if (device_ >= 0) arenas()[static_cast<std::size_t>(device_)].close();
}

std::string overwritten(int device) {
  return arenas()[static_cast<std::size_t>(device)].overwritten();
}

}  // namespace refract::emulated
