// tokenize_texts TOKENIZER_FOLDER_OR_JSON [--threads N] [--decode]
// What an oracle in another language compares with, through pipes. Numbers are u32, little-endian.
//   encode: stdin  (size, bytes) of each text;     stdout (count, count x (id, begin, end)) of each
//   decode: stdin  (count, count x id) of each;    stdout (size, bytes) of each
// A failure prints what() and exits with 3.
#include <bit>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "refract/base/error.hpp"
#include "refract/base/parallel.hpp"
#include "refract/tokenizer/tokenizer.hpp"

namespace refract {
namespace {

static_assert(std::endian::native == std::endian::little);
constexpr std::size_t kBatchBytes = std::size_t{32} << 20;

bool read_number(std::uint32_t& number) {
  const std::size_t got = std::fread(&number, 1, sizeof number, stdin);
  if (got != 0 && got != sizeof number) throw DataError("stdin ends within a number");
  return got != 0;
}

// Some 32 MiB of items of `unit` bytes each, fewer at the end of the input.
std::vector<std::string> read_batch(std::size_t unit) {
  std::vector<std::string> batch;
  std::size_t bytes = 0;
  std::uint32_t count = 0;
  while (bytes < kBatchBytes && read_number(count)) {
    std::string& item = batch.emplace_back(count * unit, '\0');
    if (std::fread(item.data(), 1, item.size(), stdin) != item.size())
      throw DataError("stdin ends within an item of {} bytes", item.size());
    bytes += item.size() + sizeof count;
  }
  return batch;
}

std::string encoded(const Tokenizer& tokenizer, std::string_view text) {
  static_assert(sizeof(TokenSpan) == 3 * sizeof(std::uint32_t));
  std::vector<TokenSpan> spans;
  tokenizer.encode(text, spans);
  const auto count = static_cast<std::uint32_t>(spans.size());
  std::string result(sizeof count + spans.size() * sizeof(TokenSpan), '\0');
  std::memcpy(result.data(), &count, sizeof count);
  if (count != 0)
    std::memcpy(result.data() + sizeof count, spans.data(), spans.size() * sizeof(TokenSpan));
  return result;
}

std::string decoded(const Tokenizer& tokenizer, std::string_view item) {
  std::vector<std::uint32_t> ids(item.size() / sizeof(std::uint32_t));
  if (!ids.empty()) std::memcpy(ids.data(), item.data(), item.size());
  const std::string bytes = tokenizer.decode(ids);
  const auto size = static_cast<std::uint32_t>(bytes.size());
  std::string result(sizeof size, '\0');
  std::memcpy(result.data(), &size, sizeof size);
  return result + bytes;
}

void run(const char* path, bool decode) {
  const auto tokenizer = load_tokenizer(path);
  const std::size_t unit = decode ? sizeof(std::uint32_t) : 1;
  for (auto batch = read_batch(unit); !batch.empty(); batch = read_batch(unit)) {
    parallel_for(batch.size(), [&](std::size_t i) {
      batch[i] = decode ? decoded(*tokenizer, batch[i]) : encoded(*tokenizer, batch[i]);
    });
    for (const std::string& item : batch)
      if (std::fwrite(item.data(), 1, item.size(), stdout) != item.size())
        throw DataError("stdout was closed");
  }
  if (std::fflush(stdout) != 0) throw DataError("stdout was closed");
}

}  // namespace
}  // namespace refract

int main(int argc, char** argv) {
  const char* path = nullptr;
  bool decode = false;
  int threads = 1;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--decode") {
      decode = true;
    } else if (argument == "--threads" && i + 1 < argc) {
      const std::string_view number = argv[++i];
      std::from_chars(number.data(), number.data() + number.size(), threads);
    } else if (path == nullptr) {
      path = argv[i];
    }
  }
  if (path == nullptr || threads < 1) {
    std::fputs("usage: tokenize_texts TOKENIZER_FOLDER_OR_JSON [--threads N] [--decode]\n", stderr);
    return 2;
  }
  std::setvbuf(stdin, nullptr, _IOFBF, std::size_t{1} << 20);
  std::setvbuf(stdout, nullptr, _IOFBF, std::size_t{1} << 20);
  try {
    refract::set_thread_count(threads);
    refract::run(path, decode);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 3;
  }
  return 0;
}
