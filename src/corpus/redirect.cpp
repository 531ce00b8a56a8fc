#include <algorithm>
#include <array>

#include "corpus/clean_text.hpp"

namespace refract {
namespace {

constexpr std::string_view kBlanks = " \t\r";
constexpr std::size_t kLongestPointer = 300;  // bytes; a title has at most 255

// The magic words of large Wikipedias, case folded.
constexpr std::array<std::string_view, 24> kWords = {"redirect",        "redirection",
                                                     "weiterleitung",   "redirección",
                                                     "redireccion",     "redirecionamento",
                                                     "rinvia",          "doorverwijzing",
                                                     "przekieruj",      "patrz",
                                                     "přesměruj",       "tam",
                                                     "перенаправление", "перенаправлення",
                                                     "omdirigering",    "uudelleenohjaus",
                                                     "ohjaus",          "átirányítás",
                                                     "yönlendirme",     "転送",
                                                     "リダイレクト",    "넘겨주기",
                                                     "重定向",          "تحويل"};

std::string_view trimmed(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size()));
  text.remove_suffix(text.size() - (text.find_last_not_of(kBlanks) + 1));
  return text;
}

bool is_known(std::string_view word) {
  const std::string folded = fold_text(word);
  return std::find(kWords.begin(), kWords.end(), folded) != kWords.end();
}

struct Pointer {
  std::string_view word, target;
  bool colon = false;
};

Pointer split(std::string_view line) {
  const std::size_t end = std::min(line.find_first_of(" \t:["), line.size());
  Pointer pointer{line.substr(0, end), trimmed(line.substr(end))};
  pointer.colon = pointer.target.starts_with(':');
  if (pointer.colon) pointer.target = trimmed(pointer.target.substr(1));
  return pointer;
}

// "[[target]]" and then nothing but what a redirect page carries: a template, a category, a
// comment.
bool is_lone_link(std::string_view text) {
  if (!text.starts_with("[[")) return false;
  const std::size_t end = text.find("]]");
  if (end == std::string_view::npos) return false;
  const std::string_view rest = trimmed(text.substr(end + 2));
  return rest.empty() || std::string_view("{[<").find(rest.front()) != std::string_view::npos;
}

}  // namespace

bool is_redirect(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n"), text.size()));
  std::string_view line = trimmed(text.substr(0, text.find('\n')));
  const bool alone = text.find_first_not_of(" \t\r\n", line.size()) == std::string_view::npos;
  if (line.starts_with('#')) {
    const Pointer pointer = split(trimmed(line.substr(1)));
    const bool is_number = pointer.word.find_first_of("0123456789") != std::string_view::npos;
    if (pointer.word.empty() || pointer.target.empty() || is_number) return false;
    return is_known(pointer.word) || is_lone_link(pointer.target);
  }
  if (!alone || line.size() > kLongestPointer || line.ends_with('.')) return false;
  const Pointer pointer = split(line);
  if (fold_text(pointer.word) != "redirect" || pointer.target.empty()) return false;
  return pointer.colon || pointer.target.starts_with("[[") || pointer.word == "REDIRECT";
}

}  // namespace refract
