#include "refract/base/numbers.hpp"

#include <charconv>
#include <cmath>
#include <string>

namespace refract {
namespace {

// 2^63: doubles from here on are no std::int64_t.
constexpr double kEndOfInt64 = 9223372036854775808.0;

template <typename T>
std::optional<T> whole_text(std::string_view text) {
  T value{};
  const char* end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || stopped != end) return std::nullopt;
  return value;
}

// "+5" is 5, "+-5" is no number.
std::string_view without_plus(std::string_view text) {
  const bool plus = text.size() > 1 && text[0] == '+' && text[1] != '-';
  return plus ? text.substr(1) : text;
}

}  // namespace

std::optional<std::uint64_t> parse_count(std::string_view text, std::uint64_t at_most) {
  const auto value = whole_text<std::uint64_t>(text);
  return value && *value <= at_most ? value : std::nullopt;
}

std::optional<std::int64_t> parse_whole(std::string_view text) {
  std::string digits(without_plus(text));
  std::erase(digits, '_');
  if (const auto exact = whole_text<std::int64_t>(digits)) return exact;
  const std::optional<double> real = parse_real(digits);
  if (!real || *real != std::floor(*real) || *real < -kEndOfInt64 || *real >= kEndOfInt64)
    return std::nullopt;
  // Digits alone were tried above: what overflowed there must not come back rounded.
  if (digits.find_first_of(".eE") == std::string::npos) return std::nullopt;
  return static_cast<std::int64_t>(*real);
}

std::optional<double> parse_real(std::string_view text) {
  const auto value = whole_text<double>(without_plus(text));
  return value && std::isfinite(*value) ? value : std::nullopt;
}

}  // namespace refract
