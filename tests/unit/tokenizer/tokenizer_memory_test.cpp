// What a long text costs beside its tokens. This program counts what operator new gives.
#include <gtest/gtest.h>
#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <new>

#include "refract/tokenizer/tokenizer.hpp"
#include "support/tokenizer_golden.hpp"

namespace {

std::atomic<std::size_t> live_bytes{0}, most_bytes{0};

void* counted(void* memory) {
  if (memory == nullptr) throw std::bad_alloc();
  const std::size_t now = live_bytes += malloc_usable_size(memory);
  std::size_t most = most_bytes;
  while (now > most && !most_bytes.compare_exchange_weak(most, now)) {
  }
  return memory;
}

void give_back(void* memory) {
  if (memory != nullptr) live_bytes -= malloc_usable_size(memory);
  std::free(memory);
}

}  // namespace

void* operator new(std::size_t bytes) {
  return counted(std::malloc(std::max<std::size_t>(1, bytes)));
}
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  const auto step = static_cast<std::size_t>(alignment);
  return counted(
      std::aligned_alloc(step, (std::max<std::size_t>(1, bytes) + step - 1) / step * step));
}
void operator delete(void* memory) noexcept { give_back(memory); }
void operator delete(void* memory, std::size_t) noexcept { give_back(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { give_back(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { give_back(memory); }

namespace refract {
namespace {

constexpr std::size_t kText = 24 << 20, kMargin = 1 << 20;

std::string words(std::string_view between) {
  std::string text;
  while (text.size() < kText) {
    text += "chemistry, 1,234 of café's";
    text += between;
  }
  return text;
}

struct Cost {
  std::size_t kept, most;  // bytes beside the tokens and the cache
};

Cost cost_of(const std::string& family, const std::string& text) {
  const auto tokenizer = load_tokenizer(tokenizer_golden::file_of(family));
  std::vector<TokenSpan> tokens;
  tokens.reserve(text.size());
  tokenizer->encode("Small words make the cache.", tokens);
  const std::size_t before = live_bytes;
  most_bytes = before;
  tokenizer->encode(text, tokens);
  return {std::max<std::size_t>(live_bytes, before) - before, most_bytes - before};
}

TEST(TokenizerMemory, of_a_long_text_is_that_of_a_short_one_where_nothing_is_rewritten) {
  const std::string text = words(" ");
  for (const char* family : {"gpt2", "llama3", "neox", "qwen3", "smollm2"}) {
    const Cost cost = cost_of(family, text);
    EXPECT_LT(cost.most, kMargin) << family;
    EXPECT_LT(cost.kept, kMargin) << family;
  }
}

// Gemma's normalizer rewrites blanks, but lines are stretches of their own.
TEST(TokenizerMemory, of_lines_is_that_of_their_places_where_all_is_rewritten) {
  const Cost cost = cost_of("gemma", words("\n"));
  EXPECT_LT(cost.most, kText * 3);
  EXPECT_LT(cost.kept, kMargin);
}

// Llama 2 has a whole text as one word: the text as it is rewritten, and where its bytes stand.
TEST(TokenizerMemory, of_a_rewritten_text_is_a_few_times_its_size_and_is_not_kept) {
  for (const char* family : {"llama2", "llama2_metaspace_first"}) {
    const Cost cost = cost_of(family, words(" "));
    EXPECT_LT(cost.most, kText * 12) << family;
    EXPECT_LT(cost.kept, kMargin) << family;
  }
}

}  // namespace
}  // namespace refract
