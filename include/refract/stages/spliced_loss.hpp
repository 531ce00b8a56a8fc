#pragma once
#include <cstdint>
#include <memory>
#include <string_view>

#include "refract/lm/language_model.hpp"
#include "refract/metrics/reconstruction.hpp"
#include "refract/stages/reconstructor.hpp"
#include "refract/stages/token_corpus.hpp"
#include "refract/store/calibration.hpp"
#include "refract/store/chunk.hpp"

namespace refract {

// What splicing SAEs of one hook into the model costs. Clean, zero and mean ablation are run once,
// when it is made, and serve every SAE. Excluded rows and sinks pass unchanged. Contexts are those
// of the held-out rows, in their order, until `tokens` would be exceeded. Memory: 16 bytes a token.
// All but `corpus` and `heldout` is borrowed.
class CrossEntropy {
 public:
  CrossEntropy(const LanguageModel& model, TokenCorpus& corpus, const ChunkReader& heldout,
               const HookCalibration& calibration, std::uint64_t tokens, std::uint64_t seed);
  ~CrossEntropy();
  CrossEntropy(CrossEntropy&&) noexcept;
  [[nodiscard]] MetricReport of(Reconstructor& sae, std::string_view sae_name) const;

 private:
  struct Body;
  std::unique_ptr<Body> body_;
};

}  // namespace refract
