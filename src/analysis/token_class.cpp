#include "refract/analysis/token_class.hpp"

#include <unicode/uchar.h>

#include "character.hpp"

namespace refract {
namespace {

bool is_in(UChar32 code, std::uint32_t categories) {
  return code >= 0 && (U_GET_GC_MASK(code) & categories) != 0;
}
bool is_letter(UChar32 code) { return is_in(code, U_GC_L_MASK | U_GC_M_MASK); }
bool is_apostrophe(UChar32 code) { return code == '\'' || code == 0x2019; }

}  // namespace

TokenClass token_class(std::string_view bytes) {
  std::size_t at = 0;
  const auto here = [&] {
    return at < bytes.size() ? character_at(bytes, at) : Character{.code = -1, .end = at};
  };
  Character first = here();
  while (first.code >= 0 && u_isUWhiteSpace(first.code) != 0) {
    at = first.end;
    first = here();
  }
  const bool after_space = at != 0;
  if (at == bytes.size()) return after_space ? TokenClass::white_space : TokenClass::other;
  if (is_letter(first.code)) return after_space ? TokenClass::word_start : TokenClass::inside_word;
  if (is_in(first.code, U_GC_N_MASK)) return TokenClass::number;
  if (!is_in(first.code, U_GC_P_MASK | U_GC_S_MASK)) return TokenClass::other;
  at = first.end;
  if (!is_letter(here().code)) return TokenClass::punctuation;
  return is_apostrophe(first.code) && !after_space ? TokenClass::inside_word
                                                   : TokenClass::word_start;
}

}  // namespace refract
