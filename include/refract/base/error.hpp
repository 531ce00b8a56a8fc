#pragma once
// The kinds of failure that end a run, one exit code each (DESIGN section 3). A message says what,
// found, expected, where it was given, and what to do. Programmer errors use REFRACT_ASSERT.
#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace refract {

enum class ExitCode {
  ok = 0,
  config = 2,
  data = 3,
  system = 4,
  not_built = 5,
  numerical = 6,
  resume = 85
};

class Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  [[nodiscard]] ExitCode code() const noexcept { return code_; }

 private:
  ExitCode code_;
};

template <ExitCode Code>
class ErrorOf : public Error {
 public:
  explicit ErrorOf(const std::string& message) : Error(Code, message) {}
  template <typename First, typename... Rest>
  ErrorOf(fmt::format_string<First, Rest...> text, First&& first, Rest&&... rest)
      : Error(Code, fmt::format(text, std::forward<First>(first), std::forward<Rest>(rest)...)) {}
};

using ConfigError = ErrorOf<ExitCode::config>;  // the user's settings
using DataError = ErrorOf<ExitCode::data>;      // an artifact or input file
// A file of ours that is not what was written: cut short, changed, or missing where it is named.
// Who can make it again from its parents catches this kind, and no other.
class Damaged : public DataError {
 public:
  using DataError::DataError;
};
using SystemError = ErrorOf<ExitCode::system>;        // MPI, CUDA, HDF5, the file system
using NotBuilt = ErrorOf<ExitCode::not_built>;        // a backend this build or machine lacks
using NumericalError = ErrorOf<ExitCode::numerical>;  // NaN, divergence, a failed self-test
using StopRequested = ErrorOf<ExitCode::resume>;      // a signal asked for a checkpoint and an end

[[noreturn]] void assertion_failed(const char* expression, const char* file, int line,
                                   const std::string& values);

}  // namespace refract

// Usage: REFRACT_ASSERT(a < b, "a={} b={}", a, b);
#define REFRACT_ASSERT(expression, ...)                                                            \
  do {                                                                                             \
    if (!(expression)) [[unlikely]]                                                                \
      ::refract::assertion_failed(#expression, __FILE__, __LINE__, ::fmt::format("" __VA_ARGS__)); \
  } while (false)
