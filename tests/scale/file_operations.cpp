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

#include <algorithm>
#include <atomic>
#include <new>

namespace {

std::atomic<std::uint64_t> g_opened, g_renamed, g_listed, g_looked_at, g_allocated;

template <std::size_t size>
struct Name {
  char text[size];
  constexpr Name(const char (&name)[size]) { std::copy_n(name, size, text); }
};

// Counts, and calls the function of that name which the caller hides.
template <typename Function, Name name, auto& count, typename... Arguments>
auto counted(Arguments... arguments) {
  static auto* const real = reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name.text));
  ++count;
  return real(arguments...);
}

using Open = int(const char*, int, ...);
using OpenAt = int(int, const char*, int, ...);
using OfPath = int(const char*);
using OfTwo = int(const char*, const char*);

}  // namespace

namespace refract::test {

FileOperations file_operations() {
  return {g_opened, g_renamed, g_listed, g_looked_at, g_allocated};
}

}  // namespace refract::test

extern "C" {

// The mode is handed on whether it was given or not, as the C library does.
int open(const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const int file = counted<Open, "open", g_opened>(path, flags, va_arg(more, mode_t));
  va_end(more);
  return file;
}
int open64(const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const int file = counted<Open, "open64", g_opened>(path, flags, va_arg(more, mode_t));
  va_end(more);
  return file;
}
int openat(int folder, const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const int file = counted<OpenAt, "openat", g_opened>(folder, path, flags, va_arg(more, mode_t));
  va_end(more);
  return file;
}
int openat64(int folder, const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const int file = counted<OpenAt, "openat64", g_opened>(folder, path, flags, va_arg(more, mode_t));
  va_end(more);
  return file;
}
FILE* fopen(const char* path, const char* how) {
  return counted<FILE*(const char*, const char*), "fopen", g_opened>(path, how);
}
FILE* fopen64(const char* path, const char* how) {
  return counted<FILE*(const char*, const char*), "fopen64", g_opened>(path, how);
}
DIR* opendir(const char* path) { return counted<DIR*(const char*), "opendir", g_opened>(path); }

int rename(const char* from, const char* to) noexcept {
  return counted<OfTwo, "rename", g_renamed>(from, to);
}
int renameat2(int from_folder, const char* from, int to_folder, const char* to,
              unsigned flags) noexcept {
  return counted<int(int, const char*, int, const char*, unsigned), "renameat2", g_renamed>(
      from_folder, from, to_folder, to, flags);
}
int unlink(const char* path) noexcept { return counted<OfPath, "unlink", g_renamed>(path); }
int unlinkat(int folder, const char* path, int flags) noexcept {
  return counted<int(int, const char*, int), "unlinkat", g_renamed>(folder, path, flags);
}
int rmdir(const char* path) noexcept { return counted<OfPath, "rmdir", g_renamed>(path); }
int remove(const char* path) noexcept { return counted<OfPath, "remove", g_renamed>(path); }
int mkdir(const char* path, mode_t mode) noexcept {
  return counted<int(const char*, mode_t), "mkdir", g_renamed>(path, mode);
}

struct dirent* readdir(DIR* folder) {
  return counted<struct dirent*(DIR*), "readdir", g_listed>(folder);
}
struct dirent64* readdir64(DIR* folder) {
  return counted<struct dirent64*(DIR*), "readdir64", g_listed>(folder);
}

int stat(const char* path, struct stat* to) noexcept {
  return counted<int(const char*, struct stat*), "stat", g_looked_at>(path, to);
}
int lstat(const char* path, struct stat* to) noexcept {
  return counted<int(const char*, struct stat*), "lstat", g_looked_at>(path, to);
}
int stat64(const char* path, struct stat64* to) noexcept {
  return counted<int(const char*, struct stat64*), "stat64", g_looked_at>(path, to);
}
int lstat64(const char* path, struct stat64* to) noexcept {
  return counted<int(const char*, struct stat64*), "lstat64", g_looked_at>(path, to);
}
int fstatat(int folder, const char* path, struct stat* to, int flags) noexcept {
  return counted<int(int, const char*, struct stat*, int), "fstatat", g_looked_at>(folder, path, to,
                                                                                   flags);
}
int access(const char* path, int mode) noexcept {
  return counted<int(const char*, int), "access", g_looked_at>(path, mode);
}

}  // extern "C"

void* operator new(std::size_t size) {
  ++g_allocated;
  if (void* memory = ::malloc(size != 0 ? size : 1)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { ::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { ::free(memory); }
