#include "refract/corpus/source.hpp"

namespace refract {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// The run of digits at `at`, without leading zeros.
std::string_view number_at(std::string_view name, std::size_t at) {
  std::size_t end = at;
  while (end < name.size() && is_digit(name[end])) ++end;
  while (at + 1 < end && name[at] == '0') ++at;
  return name.substr(at, end - at);
}

std::size_t skip_number(std::string_view name, std::size_t at) {
  while (at < name.size() && is_digit(name[at])) ++at;
  return at;
}

}  // namespace

bool shard_name_less(std::string_view a, std::string_view b) {
  std::size_t i = 0, j = 0;
  while (i < a.size() && j < b.size()) {
    if (is_digit(a[i]) && is_digit(b[j])) {
      const std::string_view m = number_at(a, i), n = number_at(b, j);
      if (m != n) return m.size() != n.size() ? m.size() < n.size() : m < n;
      i = skip_number(a, i);
      j = skip_number(b, j);
    } else if (a[i] != b[j]) {
      return a[i] < b[j];
    } else {
      ++i;
      ++j;
    }
  }
  const bool a_ended = i == a.size(), b_ended = j == b.size();
  return a_ended && b_ended ? a < b : a_ended;  // "1" and "01" differ only in spelling
}

}  // namespace refract
