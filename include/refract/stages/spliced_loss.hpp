#pragma once
#include <cstdint>
#include <memory>
#include <string_view>

#include "refract/comm/communicator.hpp"
#include "refract/comm/shared_stop.hpp"
#include "refract/lm/language_model.hpp"
#include "refract/metrics/reconstruction.hpp"
#include "refract/stages/evaluated_sae.hpp"
#include "refract/stages/reconstructor.hpp"
#include "refract/stages/token_corpus.hpp"
#include "refract/store/calibration.hpp"
#include "refract/store/chunk.hpp"

namespace refract {

// What splicing SAEs of one hook into the model costs (metrics/spliced_loss.hpp), or transcoders
// that read one hook and replace a later one. Clean, zero and mean ablation are run once, when it
// is made, and serve every SAE. Excluded rows and sinks, of either hook, pass unchanged.
// Contexts are those of the held-out rows, in their order, until `tokens` would be
// exceeded; joined into calls of the model, which are dealt to the ranks that have one. Memory: 60
// bytes a token, and 4 D of those a rank runs itself; 128 MiB of logits or 32 tokens of them.
//
// calls of the model       0 1 2 3 4           ranks 0 and 2 have it
//   rank 0 runs            0   2   4           -> rank 0: nll and kl of 0 1 2 3 4, in this order,
//   rank 2 runs              1   3                so that the report has the same bytes for any
//   rank 1 waits                                  number of ranks
class SplicedLoss {
 public:
  // Collective. model: null on a rank without one; at least one rank has it. corpus and heldout are
  // read on rank 0 alone. model and calibrations are borrowed. StopRequested on every rank once a
  // stop was asked for on any.
  [[nodiscard]] static SplicedLoss collective_without_sae(const LanguageModel* model,
                                                          TokenCorpus& corpus,
                                                          const ChunkReader& heldout,
                                                          const EvaluatedHooks& hooks,
                                                          std::uint64_t tokens, std::uint64_t seed,
                                                          SharedStop& stop, Communicator& ranks);
  ~SplicedLoss();
  SplicedLoss(SplicedLoss&&) noexcept;

  // Collective, on the ranks it was made on. The report is rank 0's (empty elsewhere).
  // NumericalError there, naming the SAE, when a number comes out not finite or no token counts.
  // Of a transcoder `sae` is asked for sinks of the target too, which are seen only later.
  [[nodiscard]] MetricReport collective_report(Reconstructor& sae, std::string_view sae_name,
                                               SharedStop& stop, Communicator& ranks) const;

 private:
  struct Body;
  explicit SplicedLoss(std::unique_ptr<Body> body);
  std::unique_ptr<Body> body_;
};

}  // namespace refract
