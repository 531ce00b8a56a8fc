#pragma once
// Numbers out of text, each with its range: the whole text is the number, or there is none. No
// locale, no exception, no value cut to fit.
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>

namespace refract {

// Decimal digits alone: "12"; not "+12", "1e3", " 12", "0x1f".
[[nodiscard]] std::optional<std::uint64_t> parse_count(
    std::string_view text, std::uint64_t at_most = std::numeric_limits<std::uint64_t>::max());
// As people write counts in settings: also "131_072", "1e6", "2.5e6" where that is whole.
[[nodiscard]] std::optional<std::int64_t> parse_whole(std::string_view text);
[[nodiscard]] std::optional<double> parse_real(std::string_view text);  // finite
// A span of time, in seconds: "90s", "45min" (or "45m"), "3h", "2d", "1h30min", or as Slurm writes
// it "04:00:00" and "1-12:00:00". Not a number alone: Slurm would take it for minutes.
[[nodiscard]] std::optional<std::uint64_t> parse_duration_s(std::string_view text);

}  // namespace refract
