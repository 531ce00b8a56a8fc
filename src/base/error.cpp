#include "refract/base/error.hpp"

#include <cstdio>
#include <cstdlib>

namespace refract {

void assertion_failed(const char* expression, const char* file, int line,
                      const std::string& values) {
  fmt::print(stderr, "refract: assertion failed: {} ({}) at {}:{}\n", expression, values, file,
             line);
  std::fflush(stderr);
  std::abort();
}

}  // namespace refract
