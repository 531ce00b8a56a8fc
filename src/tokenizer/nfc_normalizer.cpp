// Unicode's normal form C as Hugging Face `tokenizers` has it: with the data of Unicode 9.0
// (its crate unicode-normalization-alignments), so characters that are younger neither compose nor
// reorder. ICU's filtered normalizer gives that of any later data.
#include <unicode/bytestream.h>
#include <unicode/edits.h>
#include <unicode/normalizer2.h>
#include <unicode/uniset.h>

#include <algorithm>
#include <vector>

#include "refract/base/error.hpp"
#include "tokenizer/json_block.hpp"
#include "tokenizer/normalizer.hpp"
#include "tokenizer/unicode_tables.hpp"

namespace refract {
namespace {

void expect(UErrorCode code, const char* doing) {
  if (U_FAILURE(code)) throw SystemError("ICU: {}: {}", doing, u_errorName(code));
}

class Nfc : public Normalizer {
 public:
  Nfc() : filter_(make_filter()), nfc_(base(), filter_), inert_(0x110000) {
    for (std::uint32_t code = 0; code < inert_.size(); ++code)
      inert_[code] = nfc_.isInert(static_cast<UChar32>(code)) != 0;
  }

  bool keeps_the_start() const override { return true; }

  bool rewrite(std::string_view text, Rewriting& to) const override {
    if (only_inert(text)) return false;
    UErrorCode error = U_ZERO_ERROR;
    const icu::StringPiece source(text.data(), static_cast<std::int32_t>(text.size()));
    if (nfc_.isNormalizedUTF8(source, error) != 0) return false;
    std::string normal;
    icu::StringByteSink<std::string> sink(&normal);
    icu::Edits edits;
    nfc_.normalizeUTF8(0, source, sink, &edits, error);
    expect(error, "normalizing to NFC");
    copy(text, normal, edits, to);
    return true;
  }

 private:
  static icu::UnicodeSet make_filter() {
    UErrorCode error = U_ZERO_ERROR;
    icu::UnicodeSet set(icu::UnicodeString("[:age=9.0:]"), error);
    expect(error, "making the set of characters of Unicode 9.0");
    set.freeze();
    return set;
  }
  static const icu::Normalizer2& base() {
    UErrorCode error = U_ZERO_ERROR;
    const icu::Normalizer2* nfc = icu::Normalizer2::getNFCInstance(error);
    expect(error, "loading NFC");
    return *nfc;
  }

  // True for nearly all text, and fast: no character that NFC could change or be changed by.
  [[nodiscard]] bool only_inert(std::string_view text) const {
    constexpr unsigned char kFirst = 0xCC;  // of U+0300, before which all characters are NFC; the
                                            // letters below compose only with marks from there on
    const char* at = text.data();
    const char* const end = at + text.size();
    while (at < end) {
      if (static_cast<unsigned char>(*at) < kFirst) {
        ++at;
        continue;
      }
      const auto [code, bytes] = unicode::decode(at);
      if (!inert_[code]) return false;
      at += bytes;
    }
    return true;
  }

  static void copy(std::string_view text, std::string_view normal, const icu::Edits& edits,
                   Rewriting& to) {
    UErrorCode error = U_ZERO_ERROR;
    std::size_t from = 0, made = 0;
    for (auto edit = edits.getFineIterator(); edit.next(error) != 0;) {
      const auto old_length = static_cast<std::size_t>(edit.oldLength());
      const auto new_length = static_cast<std::size_t>(edit.newLength());
      if (edit.hasChange() != 0)
        replace(text.substr(from, old_length), normal.substr(made, new_length), to);
      else
        to.keep(text.substr(from, old_length));
      from += old_length;
      made += new_length;
    }
    expect(error, "reading the edits of NFC");
  }

  // ICU gives a base with all its marks as one edit, though some may be unchanged, or only in
  // another order: then they are replaced one by one.
  static void replace(std::string_view before, std::string_view after, Rewriting& to) {
    const bool one_by_one = unicode::characters(before) == unicode::characters(after);
    while (!before.empty() && !after.empty()) {
      const std::size_t old = unicode::decode(before.data()).bytes;
      const std::size_t now = unicode::decode(after.data()).bytes;
      const bool same = before.substr(0, old) == after.substr(0, now);
      if (!same && !one_by_one) break;
      if (same)
        to.keep(before.substr(0, old));
      else
        to.replace(static_cast<std::uint32_t>(old), after.substr(0, now));
      before.remove_prefix(old);
      after.remove_prefix(now);
    }
    std::size_t same = 0;  // bytes at the end
    while (same < std::min(before.size(), after.size()) &&
           before[before.size() - 1 - same] == after[after.size() - 1 - same])
      ++same;
    while (same > 0 && unicode::continues(before[before.size() - same])) --same;
    if (same < before.size() || same < after.size())
      to.replace(static_cast<std::uint32_t>(before.size() - same),
                 after.substr(0, after.size() - same));
    to.keep(before.substr(before.size() - same));
  }

  icu::UnicodeSet filter_;
  icu::FilteredNormalizer2 nfc_;
  std::vector<bool> inert_;
};

}  // namespace

std::unique_ptr<Normalizer> make_nfc(const JsonBlock&) { return std::make_unique<Nfc>(); }

}  // namespace refract
