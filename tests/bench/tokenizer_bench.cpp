// The demo's tokenizer over the documents of one shard, on every thread. Peer: Hugging Face
// tokenizers.
#include "bench/support.hpp"
#include "refract/base/parallel.hpp"
#include "refract/corpus/read_shard.hpp"
#include "refract/tokenizer/tokenizer.hpp"

namespace refract {
namespace {

void encode(benchmark::State& state) {
  const auto tokenizer = load_tokenizer(REFRACT_SOURCE_DIR "/configs/demo/model");
  std::vector<Document> documents;
  (void)read_documents(REFRACT_SOURCE_DIR "/configs/demo/shards/enwiki_namespace_0_0.jsonl.zst", {},
                       documents);
  double bytes = 0;
  for (const Document& document : documents) bytes += static_cast<double>(document.text.size());
  for (auto _ : state)
    parallel_for(documents.size(), [&](std::size_t d) {
      std::vector<TokenSpan> tokens;
      tokenizer->encode(documents[d].text, tokens);
      benchmark::DoNotOptimize(tokens.data());
    });
  bench::report(state, 0, 0, bytes);
}
BENCHMARK(encode)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
}  // namespace refract
