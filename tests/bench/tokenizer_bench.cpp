// Tokenizers over text, on one thread and on two. Always: the demo's tokenizer over a shard of the
// demo. Where they are named, real tokenizers over real text:
//   REFRACT_BENCH_TOKENIZERS=FOLDER:FOLDER... REFRACT_BENCH_TEXTS=FILE:FILE... bench_refract
//   --benchmark_filter=tokenizer
// A text is a shard that refract reads, or, of any other name, text in UTF-8, which is taken in
// pieces of 20,000 bytes. Peer: Hugging Face tokenizers (its encode on one thread,
// encode_batch_fast on all).
#include <cstdlib>
#include <map>
#include <sstream>

#include "bench/support.hpp"
#include "refract/base/file.hpp"
#include "refract/base/parallel.hpp"
#include "refract/corpus/read_shard.hpp"
#include "refract/tokenizer/tokenizer.hpp"

namespace refract {
namespace {

using Texts = std::vector<std::string>;

Texts pieces_of(const std::string& text) {
  constexpr std::size_t kPiece = 20'000;
  Texts pieces;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = std::min(at + kPiece, text.size());
    while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xC0u) == 0x80u) ++end;
    pieces.push_back(text.substr(at, end - at));
    at = end;
  }
  return pieces;
}

const Texts& texts_of(const std::string& path) {
  static std::map<std::string, Texts> known;
  Texts& texts = known[path];
  if (!texts.empty()) return texts;
  if (path.find(".jsonl") == std::string::npos) return texts = pieces_of(read_file(path));
  std::vector<Document> documents;
  (void)read_documents(path, {}, documents);
  for (Document& document : documents) texts.push_back(std::move(document.text));
  return texts;
}

void encode(benchmark::State& state, const std::string& folder, const std::string& path) {
  const auto tokenizer = load_tokenizer(folder);
  const Texts& texts = texts_of(path);
  double bytes = 0;
  for (const std::string& text : texts) bytes += static_cast<double>(text.size());
  const int before = thread_count();
  set_thread_count(static_cast<int>(state.range(0)));
  for (auto _ : state)
    parallel_for(texts.size(), [&](std::size_t i) {
      std::vector<TokenSpan> tokens;
      tokenizer->encode(texts[i], tokens);
      benchmark::DoNotOptimize(tokens.data());
    });
  set_thread_count(before);
  bench::report(state, 0, 0, bytes);
}

void load(benchmark::State& state, const std::string& folder) {
  for (auto _ : state) benchmark::DoNotOptimize(load_tokenizer(folder));
}

std::vector<std::string> named_by(const char* variable) {
  std::vector<std::string> names;
  const char* const value = std::getenv(variable);
  std::istringstream list(value == nullptr ? "" : value);
  for (std::string name; std::getline(list, name, ':');) names.push_back(name);
  return names;
}

const bool kRegistered = [] {
  std::vector<std::string> folders = named_by("REFRACT_BENCH_TOKENIZERS");
  std::vector<std::string> texts = named_by("REFRACT_BENCH_TEXTS");
  if (folders.empty()) folders = {REFRACT_SOURCE_DIR "/configs/demo/model"};
  if (texts.empty())
    texts = {REFRACT_SOURCE_DIR "/configs/demo/shards/enwiki_namespace_0_0.jsonl.zst"};
  for (const std::string& folder : folders) {
    const std::string name = "tokenizer/" + fs::path(folder).filename().string();
    benchmark::RegisterBenchmark((name + "/load").c_str(), load, folder)
        ->Unit(benchmark::kMillisecond);
    for (const std::string& text : texts)
      benchmark::RegisterBenchmark((name + "/" + fs::path(text).filename().string()).c_str(),
                                   encode, folder, text)
          ->Unit(benchmark::kMillisecond)
          ->UseRealTime()
          ->ArgName("threads")
          ->Arg(1)
          ->Arg(2);
  }
  return true;
}();

}  // namespace
}  // namespace refract
