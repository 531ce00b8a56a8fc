#pragma once
// What the parts of one job share: the run, its corpus, its store, the length of its training. The
// same on every rank; corpus and order grow while shards are admitted, and a rank knows as many of
// them as its last ticket told it.
#include <cstdint>
#include <memory>
#include <string>

#include "refract/pipeline/run.hpp"
#include "refract/pipeline/run_corpus.hpp"
#include "refract/pipeline/run_store.hpp"
#include "refract/pipeline/training_plan.hpp"

namespace refract {

class Session {
 public:
  // trains: false for a command that ends before training, which needs no batch.
  Session(RunConfig config, Communicator& world, bool trains = true);
  // Collective over the world; rank 0 says what Run::find_inputs found. Before, there is the run
  // alone.
  void collective_open(const RunInputs& found);

  [[nodiscard]] Run& run() { return run_; }
  [[nodiscard]] const Run& run() const { return run_; }
  [[nodiscard]] RunCorpus& corpus() { return *corpus_; }
  [[nodiscard]] const RunCorpus& corpus() const { return *corpus_; }
  [[nodiscard]] RunStore& store() { return *store_; }
  [[nodiscard]] const RunStore& store() const { return *store_; }
  [[nodiscard]] const RunConfig& config() const { return run_.config(); }
  [[nodiscard]] const RunFolder& folder() const { return run_.folder(); }

  // Planned while the corpus streams, exact once it is complete.
  [[nodiscard]] TrainingPlan plan() const;
  [[nodiscard]] ChunkVisit visit(std::uint64_t visit) const;
  // What a checkpoint of this SAE must carry; the store is open.
  [[nodiscard]] std::string training_digest(std::size_t sae) const;

 private:
  Run run_;
  bool trains_;
  std::unique_ptr<RunCorpus> corpus_;
  std::unique_ptr<RunStore> store_;
};

}  // namespace refract
