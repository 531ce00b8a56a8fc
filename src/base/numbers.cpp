#include "refract/base/numbers.hpp"

#include <algorithm>
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

constexpr std::uint64_t kMinute_s = 60, kHour_s = 3600, kDay_s = 86400;
constexpr std::uint64_t kMostOfAUnit = 1'000'000'000;  // sums and products of such fit

// "04:00:00" or "1-12:00:00".
std::optional<std::uint64_t> clock_text_s(std::string_view text) {
  std::uint64_t days = 0;
  if (const std::size_t dash = text.find('-'); dash != std::string_view::npos) {
    const auto number = parse_count(text.substr(0, dash), kMostOfAUnit);
    if (!number) return std::nullopt;
    days = *number;
    text.remove_prefix(dash + 1);
  }
  const std::size_t first = text.find(':'), second = text.find(':', first + 1);
  if (second == std::string_view::npos) return std::nullopt;
  const auto hours = parse_count(text.substr(0, first), kMostOfAUnit);
  const auto minutes = parse_count(text.substr(first + 1, second - first - 1), 59);
  const auto seconds = parse_count(text.substr(second + 1), 59);
  if (!hours || !minutes || !seconds) return std::nullopt;
  return days * kDay_s + *hours * kHour_s + *minutes * kMinute_s + *seconds;
}

std::optional<std::uint64_t> unit_s(std::string_view unit) {
  if (unit == "s") return 1;
  if (unit == "min" || unit == "m") return kMinute_s;
  if (unit == "h") return kHour_s;
  if (unit == "d") return kDay_s;
  return std::nullopt;
}

}  // namespace

std::optional<std::uint64_t> parse_duration_s(std::string_view text) {
  if (text.find(':') != std::string_view::npos) return clock_text_s(text);
  if (text.empty()) return std::nullopt;
  std::uint64_t sum = 0;
  while (!text.empty()) {
    const std::size_t digits = text.find_first_not_of("0123456789");
    if (digits == std::string_view::npos) return std::nullopt;
    const std::size_t end = std::min(text.find_first_of("0123456789", digits), text.size());
    const auto number = parse_count(text.substr(0, digits), kMostOfAUnit);
    const auto unit = unit_s(text.substr(digits, end - digits));
    if (!number || !unit) return std::nullopt;
    sum += *number * *unit;
    text.remove_prefix(end);
  }
  return sum;
}

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
