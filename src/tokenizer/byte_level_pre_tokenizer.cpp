#include <nlohmann/json.hpp>

#include "tokenizer/pre_tokenizer.hpp"

namespace refract {
namespace {

class ByteLevel : public PreTokenizer {
 public:
  ByteLevel(bool add_prefix_space, bool use_regex)
      : add_prefix_space_(add_prefix_space), use_regex_(use_regex) {}

  void split(std::string_view stretch, Words& out) const override {
    out.words.clear();
    out.prepended = add_prefix_space_ && stretch.front() != ' ' ? 1 : 0;
    out.text = stretch;
    if (out.prepended != 0) {
      out.rewritten.assign(1, ' ').append(stretch);
      out.text = out.rewritten;
    }
    if (use_regex_)
      split_gpt2(out.text, out.words);
    else
      out.words.push_back({0, static_cast<std::uint32_t>(out.text.size())});
  }

 private:
  bool add_prefix_space_, use_regex_;
};

}  // namespace

std::unique_ptr<PreTokenizer> make_byte_level(const nlohmann::json& block) {
  // Hugging Face's defaults for absent keys.
  return std::make_unique<ByteLevel>(block.value("add_prefix_space", true),
                                     block.value("use_regex", true));
}

}  // namespace refract
