#include "refract/pipeline/session.hpp"

#include <fmt/format.h>

#include "refract/base/digest.hpp"
#include "refract/pipeline/identity.hpp"

namespace refract {

Session::Session(RunConfig config, Communicator& world, bool trains)
    : run_(std::move(config), world), trains_(trains) {}

void Session::collective_open(const RunInputs& found) {
  run_.collective_open(found);
  corpus_ = RunCorpus::collective_open(run_, trains_);
  store_ = std::make_unique<RunStore>(run_, *corpus_);
}

TrainingPlan Session::plan() const {
  const SampleOrder& order = corpus_->order();
  return plan_training(config(), order.rule(),
                       order.complete() ? std::optional(order.rows()) : std::nullopt);
}

ChunkVisit Session::visit(std::uint64_t visit) const {
  const TrainingPlan planned = plan();
  return {.shape = corpus_->order().chunk_shape(planned.chunk_of(visit)),
          .corpus_pass = visit / planned.chunks};
}

std::string Session::training_digest(std::size_t sae) const {
  return short_digest(fmt::format("sae 2\nstore={}\n{}", store_->digest(),
                                  as_text(training_settings(config(), sae))));
}

}  // namespace refract
