// Stands before the C library: each function counts, and calls the one it hides.
#include "scale/file_operations.hpp"

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <new>

namespace {

std::atomic<std::uint64_t> g_opened, g_renamed, g_listed, g_looked_at, g_allocated;

template <typename Function>
Function* hidden(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

using Open = int(const char*, int, ...);
using OpenAt = int(int, const char*, int, ...);
using OfPath = int(const char*);
using OfTwo = int(const char*, const char*);
using Stat = int(const char*, struct stat*);

}  // namespace

namespace refract::test {

FileOperations file_operations() {
  return {g_opened, g_renamed, g_listed, g_looked_at, g_allocated};
}

}  // namespace refract::test

extern "C" {

// The mode is handed on whether it was given or not, as the C library does.
int open(const char* path, int flags, ...) {
  static Open* const real = hidden<Open>("open");
  va_list more;
  va_start(more, flags);
  const mode_t mode = va_arg(more, mode_t);
  va_end(more);
  ++g_opened;
  return real(path, flags, mode);
}
int open64(const char* path, int flags, ...) {
  static Open* const real = hidden<Open>("open64");
  va_list more;
  va_start(more, flags);
  const mode_t mode = va_arg(more, mode_t);
  va_end(more);
  ++g_opened;
  return real(path, flags, mode);
}
int openat(int folder, const char* path, int flags, ...) {
  static OpenAt* const real = hidden<OpenAt>("openat");
  va_list more;
  va_start(more, flags);
  const mode_t mode = va_arg(more, mode_t);
  va_end(more);
  ++g_opened;
  return real(folder, path, flags, mode);
}
int openat64(int folder, const char* path, int flags, ...) {
  static OpenAt* const real = hidden<OpenAt>("openat64");
  va_list more;
  va_start(more, flags);
  const mode_t mode = va_arg(more, mode_t);
  va_end(more);
  ++g_opened;
  return real(folder, path, flags, mode);
}
FILE* fopen(const char* path, const char* how) {
  static auto* const real = hidden<FILE*(const char*, const char*)>("fopen");
  ++g_opened;
  return real(path, how);
}
FILE* fopen64(const char* path, const char* how) {
  static auto* const real = hidden<FILE*(const char*, const char*)>("fopen64");
  ++g_opened;
  return real(path, how);
}
DIR* opendir(const char* path) {
  static auto* const real = hidden<DIR*(const char*)>("opendir");
  ++g_opened;
  return real(path);
}

int rename(const char* from, const char* to) noexcept {
  static OfTwo* const real = hidden<OfTwo>("rename");
  ++g_renamed;
  return real(from, to);
}
int renameat2(int from_folder, const char* from, int to_folder, const char* to,
              unsigned flags) noexcept {
  static auto* const real = hidden<int(int, const char*, int, const char*, unsigned)>("renameat2");
  ++g_renamed;
  return real(from_folder, from, to_folder, to, flags);
}
int unlink(const char* path) noexcept {
  static OfPath* const real = hidden<OfPath>("unlink");
  ++g_renamed;
  return real(path);
}
int unlinkat(int folder, const char* path, int flags) noexcept {
  static auto* const real = hidden<int(int, const char*, int)>("unlinkat");
  ++g_renamed;
  return real(folder, path, flags);
}
int rmdir(const char* path) noexcept {
  static OfPath* const real = hidden<OfPath>("rmdir");
  ++g_renamed;
  return real(path);
}
int remove(const char* path) noexcept {
  static OfPath* const real = hidden<OfPath>("remove");
  ++g_renamed;
  return real(path);
}
int mkdir(const char* path, mode_t mode) noexcept {
  static auto* const real = hidden<int(const char*, mode_t)>("mkdir");
  ++g_renamed;
  return real(path, mode);
}

struct dirent* readdir(DIR* folder) {
  static auto* const real = hidden<struct dirent*(DIR*)>("readdir");
  ++g_listed;
  return real(folder);
}
struct dirent64* readdir64(DIR* folder) {
  static auto* const real = hidden<struct dirent64*(DIR*)>("readdir64");
  ++g_listed;
  return real(folder);
}

int stat(const char* path, struct stat* to) noexcept {
  static Stat* const real = hidden<Stat>("stat");
  ++g_looked_at;
  return real(path, to);
}
int lstat(const char* path, struct stat* to) noexcept {
  static Stat* const real = hidden<Stat>("lstat");
  ++g_looked_at;
  return real(path, to);
}
int stat64(const char* path, struct stat64* to) noexcept {
  static auto* const real = hidden<int(const char*, struct stat64*)>("stat64");
  ++g_looked_at;
  return real(path, to);
}
int lstat64(const char* path, struct stat64* to) noexcept {
  static auto* const real = hidden<int(const char*, struct stat64*)>("lstat64");
  ++g_looked_at;
  return real(path, to);
}
int fstatat(int folder, const char* path, struct stat* to, int flags) noexcept {
  static auto* const real = hidden<int(int, const char*, struct stat*, int)>("fstatat");
  ++g_looked_at;
  return real(folder, path, to, flags);
}
int access(const char* path, int mode) noexcept {
  static auto* const real = hidden<int(const char*, int)>("access");
  ++g_looked_at;
  return real(path, mode);
}

}  // extern "C"

void* operator new(std::size_t size) {
  ++g_allocated;
  if (void* memory = ::malloc(size != 0 ? size : 1)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { ::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { ::free(memory); }
