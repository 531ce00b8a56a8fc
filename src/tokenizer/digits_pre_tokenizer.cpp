#include "tokenizer/json_block.hpp"
#include "tokenizer/pre_tokenizer.hpp"
#include "tokenizer/split_by.hpp"
#include "tokenizer/unicode_tables.hpp"

namespace refract {
namespace {

class Digits : public PreTokenizer {
 public:
  explicit Digits(bool individual)
      : behavior_(individual ? SplitBehavior::isolated : SplitBehavior::contiguous) {}

  void split(const Piece& piece, WordConsumer& next) const override {
    const std::uint8_t* const classes = unicode::class_table();
    Splitter splitter(piece, behavior_, next);
    const auto size = static_cast<std::uint32_t>(piece.bytes.size());
    std::uint32_t done = 0;
    for (std::uint32_t at = 0; at < size;) {
      const auto [code, bytes] = unicode::decode(piece.bytes.data() + at);
      const std::uint32_t end = at + bytes;
      if ((classes[code] & unicode::numeric) != 0) {
        splitter.segment(done, at, false);
        splitter.segment(at, end, true);
        done = end;
      }
      at = end;
    }
    splitter.segment(done, size, false);
    splitter.finish();
  }

 private:
  SplitBehavior behavior_;
};

}  // namespace

std::unique_ptr<PreTokenizer> make_digits(const JsonBlock& block) {
  return std::make_unique<Digits>(block.flag("individual_digits"));
}

}  // namespace refract
