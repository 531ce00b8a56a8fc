#include "refract/base/error.hpp"
#include "tokenizer/json_block.hpp"
#include "tokenizer/normalizer.hpp"

namespace refract {
namespace {

class Replace : public Normalizer {
 public:
  Replace(std::string_view pattern, std::string_view content)
      : pattern_(pattern), content_(content) {}

  bool rewrite(std::string_view text, Rewriting& to) const override {
    std::size_t found = find(text, 0);
    if (found == std::string_view::npos) return false;
    std::size_t done = 0;
    for (; found != std::string_view::npos; found = find(text, done)) {
      to.keep(text.substr(done, found - done));
      to.replace(static_cast<std::uint32_t>(pattern_.size()), content_);
      done = found + pattern_.size();
    }
    to.keep(text.substr(done));
    return true;
  }

 private:
  [[nodiscard]] std::size_t find(std::string_view text, std::size_t from) const {
    return pattern_.size() == 1 ? text.find(pattern_.front(), from) : text.find(pattern_, from);
  }
  std::string pattern_, content_;
};

}  // namespace

std::unique_ptr<Normalizer> make_replace(const JsonBlock& block) {
  const JsonBlock pattern = block.block("pattern");
  const auto text = pattern.text_or_null("String");
  if (!text)
    throw DataError("{} is not a String: a Replace by a regular expression is not supported",
                    block.path_of("pattern"));
  if (text->empty()) throw DataError("{} is empty", pattern.path_of("String"));
  const std::string_view content = block.text("content");
  return std::make_unique<Replace>(*text, content);
}

}  // namespace refract
