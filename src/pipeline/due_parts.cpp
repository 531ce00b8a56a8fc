#include "pipeline/due_parts.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "refract/base/error.hpp"

namespace refract {
namespace {

// What every analysis of this SAE depends on, one fact a line.
std::string inputs_of(const Session& session, const TrainedSae& sae) {
  const std::vector<SaeConfig>& saes = session.config().saes;
  const auto at = std::ranges::find(saes, sae.config.name, &SaeConfig::name);
  REFRACT_ASSERT(at != saes.end(), "SAE {}", sae.config.name);
  return fmt::format("store={}\nsae={}\nweights={}\n", session.store().digest(),
                     session.training_digest(static_cast<std::size_t>(at - saes.begin())),
                     weights_digest(sae));
}

}  // namespace

std::vector<DuePart> due_parts(const Session& session, const Ledger& ledger,
                               const std::vector<TrainedSae>& saes,
                               Part (*part_of)(const RunFolder&, const std::string&),
                               const std::string& shared) {
  std::vector<DuePart> due;
  for (const TrainedSae& sae : saes) {
    const std::string inputs = inputs_digest(shared + inputs_of(session, sae));
    if (!is_finished(ledger.state(), part_of(session.folder(), sae.config.name), inputs))
      due.push_back({&sae, inputs});
  }
  return due;
}

Parents analysis_parents(const Session& session, const TrainedSae& sae) {
  return {{"store", session.store().digest()}, {"weights", weights_digest(sae)}};
}

EvaluatedSae evaluated(const TrainedSae& sae) {
  return {.config = &sae.config,
          .variant = sae.variant.get(),
          .parameters = &sae.used(),
          .spaces = sae.spaces()};
}

std::string rows_kept(const Session& session) {
  return "rows=" +
         ChunkReader(session.folder().evidence(), session.store().parents()).content_digest() +
         "\n";
}

}  // namespace refract
