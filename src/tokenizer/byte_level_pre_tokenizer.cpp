#include "tokenizer/json_block.hpp"
#include "tokenizer/pattern.hpp"
#include "tokenizer/pre_tokenizer.hpp"

namespace refract {
namespace {

class ByteLevel : public PreTokenizer {
 public:
  ByteLevel(bool add_prefix_space, bool use_regex)
      : add_prefix_space_(add_prefix_space), use_regex_(use_regex) {}

  void split(const Piece& piece, WordConsumer& next) const override {
    if (!add_prefix_space_ || piece.bytes.front() == ' ') {
      cut(piece, next);
      return;
    }
    Rewriting prefixed;
    prefixed.start(piece.origin);
    prefixed.replace(0, " ");
    prefixed.keep(piece.bytes);
    cut({prefixed.text(), prefixed.origin()}, next);
  }

 private:
  void cut(const Piece& piece, WordConsumer& next) const {
    if (use_regex_) {
      split_gpt2(piece, next);
    } else {
      const Word whole{0, static_cast<std::uint32_t>(piece.bytes.size())};
      next.take(piece, {&whole, 1});
    }
  }

  bool add_prefix_space_, use_regex_;
};

}  // namespace

std::unique_ptr<PreTokenizer> make_byte_level(const JsonBlock& block) {
  (void)block.flag("trim_offsets");  // moves offsets alone, but the library wants it there
  const bool add_prefix_space = block.flag("add_prefix_space");
  const bool use_regex = block.flag("use_regex", true);
  if (!add_prefix_space && !use_regex) return nullptr;
  return std::make_unique<ByteLevel>(add_prefix_space, use_regex);
}

}  // namespace refract
