#include "emulated/fiber.hpp"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
// swapcontext saves the signal mask with a system call, which is most of its time: where this file
// knows the machine it switches by hand.
#if defined(__x86_64__) && !defined(REFRACT_FIBER_UCONTEXT)
#define REFRACT_FIBER_BY_HAND
#else
#include <ucontext.h>
#endif

namespace refract::emulated {
namespace {

constexpr std::size_t kGuard_bytes = 4096 * 16;  // also where pages have 64 KiB
constexpr std::size_t kStack_bytes = std::size_t{256} << 10;
// Stacks begin at different places of a page: else their hot ends share a few lines of the cache.
constexpr std::size_t kStagger_bytes = 5 * 64, kStaggered = 64;

struct Context {
#if defined(REFRACT_FIBER_BY_HAND)
  void* stack_pointer = nullptr;
#else
  ucontext_t context;
#endif
  const void* stack = nullptr;  // what the sanitizer must know of it
  std::size_t bytes = 0;
  void* fake_stack = nullptr;
};

thread_local Context caller;  // of resume()
thread_local Fiber::State* running = nullptr;

}  // namespace

struct Fiber::State {
  std::byte* memory = nullptr;  // guard, then stack
  std::byte* top = nullptr;     // where it begins
  Context context;
  void (*entry)(void*) = nullptr;
  void* argument = nullptr;
};

}  // namespace refract::emulated

#if defined(REFRACT_FIBER_BY_HAND)
// System V: a function keeps these six registers and the stack pointer, all else is the caller's.
extern "C" void refract_fiber_switch(void** save, void* load);
asm(R"(
.text
.globl refract_fiber_switch
.type refract_fiber_switch, @function
refract_fiber_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size refract_fiber_switch, .-refract_fiber_switch
)");
#endif

namespace refract::emulated {
namespace {

void switch_context(Context& from, Context& to, bool last) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(last ? nullptr : &from.fake_stack, to.stack, to.bytes);
#else
  static_cast<void>(last);
#endif
#if defined(REFRACT_FIBER_BY_HAND)
  refract_fiber_switch(&from.stack_pointer, to.stack_pointer);
#else
  swapcontext(&from.context, &to.context);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(from.fake_stack, nullptr, nullptr);
#endif
}

// On the fiber's stack, from nowhere: it must not return.
void enter() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &caller.stack, &caller.bytes);
#endif
  Fiber::State& self = *running;
  self.entry(self.argument);
  switch_context(self.context, caller, true);
  std::abort();
}

}  // namespace

Fiber::Fiber() : state_(std::make_unique<State>()) {
  void* memory = mmap(nullptr, kGuard_bytes + kStack_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  mprotect(memory, kGuard_bytes, PROT_NONE);
  state_->memory = static_cast<std::byte*>(memory);
  thread_local std::size_t fibers = 0;
  state_->top =
      state_->memory + kGuard_bytes + kStack_bytes - fibers++ % kStaggered * kStagger_bytes;
  state_->context.stack = state_->memory + kGuard_bytes;
  state_->context.bytes = kStack_bytes;
}

Fiber::~Fiber() { munmap(state_->memory, kGuard_bytes + kStack_bytes); }

void Fiber::start(void (*entry)(void*), void* argument) {
  state_->entry = entry;
  state_->argument = argument;
#if defined(__SANITIZE_ADDRESS__)
  // What a forgotten function has poisoned.
  __asan_unpoison_memory_region(state_->memory + kGuard_bytes, kStack_bytes);
#endif
#if defined(REFRACT_FIBER_BY_HAND)
  auto** word = reinterpret_cast<void**>(state_->top);
  *--word = nullptr;  // where enter() would return to
  *--word = reinterpret_cast<void*>(&enter);
  for (int saved = 0; saved < 6; ++saved) *--word = nullptr;
  state_->context.stack_pointer = word;
#else
  getcontext(&state_->context.context);
  state_->context.context.uc_stack.ss_sp = state_->memory + kGuard_bytes;
  state_->context.context.uc_stack.ss_size =
      static_cast<std::size_t>(state_->top - state_->memory) - kGuard_bytes;
  state_->context.context.uc_link = nullptr;
  makecontext(&state_->context.context, &enter, 0);
#endif
}

void Fiber::resume() {
  running = state_.get();
  switch_context(caller, state_->context, false);
  running = nullptr;
}

void Fiber::stop() { switch_context(running->context, caller, false); }

bool Fiber::contains(const void* address) const {
  const auto at = reinterpret_cast<std::uintptr_t>(address),
             first = reinterpret_cast<std::uintptr_t>(state_->memory);
  return at >= first && at < first + kGuard_bytes + kStack_bytes;
}

}  // namespace refract::emulated
