// SentencePiece's spelling of spaces as a pre-tokenizer: blanks become a visible character, one is
// put in front, and words begin with it.
#include "refract/base/error.hpp"
#include "tokenizer/json_block.hpp"
#include "tokenizer/pre_tokenizer.hpp"
#include "tokenizer/split_by.hpp"
#include "tokenizer/unicode_tables.hpp"

namespace refract {
namespace {

enum class Prepend { never, first, always };

class Metaspace : public PreTokenizer {
 public:
  Metaspace(std::string_view replacement, Prepend prepend, bool split)
      : replacement_(replacement), prepend_(prepend), split_(split) {}

  bool asks_for_the_start() const override { return prepend_ == Prepend::first; }

  void split(const Piece& piece, WordConsumer& next) const override {
    Rewriting spelled;
    spelled.start(piece.origin);
    if (prepends(piece)) spelled.replace(0, replacement_);
    std::size_t done = 0;
    for (std::size_t at = piece.bytes.find(' '); at != std::string_view::npos;
         at = piece.bytes.find(' ', done)) {
      spelled.keep(piece.bytes.substr(done, at - done));
      spelled.replace(1, replacement_);
      done = at + 1;
    }
    spelled.keep(piece.bytes.substr(done));
    const Piece words{spelled.text(), spelled.origin()};
    if (split_) {
      split_at(replacement_, words, SplitBehavior::merged_with_next, true, next);
      return;
    }
    const Word whole{0, static_cast<std::uint32_t>(words.bytes.size())};
    next.take(words, {&whole, 1});
  }

 private:
  [[nodiscard]] bool prepends(const Piece& piece) const {
    if (piece.bytes.front() == ' ' || piece.bytes.starts_with(replacement_)) return false;
    return prepend_ == Prepend::always ||
           (prepend_ == Prepend::first && piece.origin.place(0) == 0);
  }

  std::string replacement_;
  Prepend prepend_;
  bool split_;
};

// add_prefix_space is the library's older spelling of it.
Prepend prepend_of(const JsonBlock& block) {
  const std::string_view scheme = block.text_if_there("prepend_scheme").value_or("always");
  const std::optional<Prepend> known = scheme == "always"  ? std::optional(Prepend::always)
                                       : scheme == "first" ? std::optional(Prepend::first)
                                       : scheme == "never" ? std::optional(Prepend::never)
                                                           : std::nullopt;
  if (!known)
    throw DataError("{} is '{}', known: always, first, never", block.path_of("prepend_scheme"),
                    scheme);
  if (block.has("add_prefix_space") && !block.flag("add_prefix_space") && *known != Prepend::never)
    throw DataError("{} is false, which contradicts {} '{}'", block.path_of("add_prefix_space"),
                    block.path_of("prepend_scheme"), scheme);
  return *known;
}

}  // namespace

std::unique_ptr<PreTokenizer> make_metaspace(const JsonBlock& block) {
  const std::string_view replacement = block.text("replacement");
  if (replacement.empty() || unicode::decode(replacement.data()).bytes != replacement.size())
    throw DataError("{} is '{}', expected one character", block.path_of("replacement"),
                    replacement);
  return std::make_unique<Metaspace>(replacement, prepend_of(block),
                                     !block.has("split") || block.flag("split"));
}

}  // namespace refract
