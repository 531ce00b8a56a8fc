#pragma once
// Between the two searches for added tokens a text is normalized: characters are put in the place
// of others. Each stretch between added tokens is normalized alone.
#include <memory>
#include <string_view>
#include <vector>

#include "tokenizer/origin.hpp"

namespace refract {

class JsonBlock;

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  // True where what it writes begins where the text began, whatever it is: then one can say of a
  // piece of it whether it stands at the start of the given text.
  [[nodiscard]] virtual bool keeps_the_start() const { return false; }
  // Writes the text's normal form to `to` (started by the caller) and returns true; false, with
  // `to` untouched, where the text is its own.
  virtual bool rewrite(std::string_view text, Rewriting& to) const = 0;
};
using Normalizers = std::vector<std::unique_ptr<Normalizer>>;  // applied in order

// The rows of the table that bear the "type" of a block; a Sequence is its parts, what never
// changes a text is left out. DataError lists the rows otherwise.
[[nodiscard]] Normalizers make_normalizers(const JsonBlock& block);
[[nodiscard]] std::unique_ptr<Normalizer> make_nfc(const JsonBlock& block);
[[nodiscard]] std::unique_ptr<Normalizer> make_prepend(const JsonBlock& block);
[[nodiscard]] std::unique_ptr<Normalizer> make_replace(const JsonBlock& block);

}  // namespace refract
