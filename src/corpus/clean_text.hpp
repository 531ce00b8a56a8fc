#pragma once
// The pieces of cleaning: UTF-8, Unicode normal form, blanks, citation marks. A JSON reader stands
// on top.
#include <cstdint>
#include <string>
#include <string_view>

namespace refract {

// Each maximal ill-formed part of the bytes becomes one U+FFFD; `repaired` counts the bytes
// replaced.
[[nodiscard]] std::string repair_utf8(std::string_view bytes, std::uint64_t& repaired);

// Appends `value` to `text`, one cleaned line per line of it, each ending in '\n': blanks collapsed
// and trimmed, control characters and citation marks ("[12]", "[note 3]", "[citation needed]")
// gone, NFC; empty lines dropped.
void append_clean_lines(std::string_view value, std::string& text);

// One cleaned line, without an end; line breaks become blanks.
[[nodiscard]] std::string clean_line(std::string_view value);

// What two names of a section are compared by: cleaned, without a final ':', case folded.
[[nodiscard]] std::string section_key(std::string_view name);

// Case folded, all white space removed.
[[nodiscard]] std::string fold_text(std::string_view text);

// Whether a page's text is the pointer of a redirect and not prose about redirects:
// "#REDIRECT [[Berlin]]", "#Weiterleitung Berlin" (a word of any language before a link; the known
// words before anything), or the one line "REDIRECT Berlin", "redirect: Berlin".
[[nodiscard]] bool is_redirect(std::string_view text);

[[nodiscard]] std::uint64_t count_code_points(std::string_view text);

}  // namespace refract
