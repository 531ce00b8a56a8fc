#include "tokenizer/json_block.hpp"
#include "tokenizer/normalizer.hpp"

namespace refract {
namespace {

class Prepend : public Normalizer {
 public:
  explicit Prepend(std::string_view prefix) : prefix_(prefix) {}

  bool rewrite(std::string_view text, Rewriting& to) const override {
    if (text.empty()) return false;
    to.replace(0, prefix_);
    to.keep(text);
    return true;
  }

 private:
  std::string prefix_;
};

}  // namespace

std::unique_ptr<Normalizer> make_prepend(const JsonBlock& block) {
  const std::string_view prefix = block.text("prepend");
  return prefix.empty() ? nullptr : std::make_unique<Prepend>(prefix);
}

}  // namespace refract
