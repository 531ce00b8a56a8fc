#pragma once
// Steps of one SAE on one rank, by the runner that trains, and what a step leaves.
#include <algorithm>
#include <array>
#include <memory>
#include <span>
#include <vector>

#include "refract/stages/train.hpp"

namespace refract::testing_support {

class OneRank {
 public:
  explicit OneRank(std::uint64_t steps = 10, double clip = 1.0,
                   const std::string& reduction = "fast", const std::string& dtype = "fp32")
      : ranks_(Communicator::loopback()) {
    config_.clip = clip;
    config_.reduction = reduction;
    config_.dtype = dtype;
    runner_ = std::make_unique<StepRunner>(config_, steps, ranks_);
  }

  // The log of this step alone.
  VisitLog step(TrainedSae& sae, const Batch& batch) {
    sae.log = {};
    runner_->collective_step(sae, batch);
    runner_->collective_finish(sae);
    return sae.log;
  }
  [[nodiscard]] StepRunner& runner() { return *runner_; }

 private:
  Communicator ranks_;
  TrainConfig config_;
  std::unique_ptr<StepRunner> runner_;
};

// The gradients that the last step updated with, before clipping.
struct StepGradients {
  std::vector<std::vector<float>> dW_enc, dW_dec;
  std::vector<float> db_enc;
  std::array<std::vector<float>, kFurther> further;  // dthreshold, or db_mag, dr_mag
  std::vector<double> db_dec;
  double norm = 0;
  friend bool operator==(const StepGradients&, const StepGradients&) = default;
};

inline StepGradients gradients_of(const TrainedSae& sae) {
  const StepBuffers& own = *sae.buffers;
  const SaeParameters& p = sae.state.parameters;
  const GradientRow at{p.d_in(), p.d_out()};
  StepGradients out;
  for (std::size_t f = 0; f < own.gradients.axis(0); ++f) {
    const std::span<const float> row = own.gradients.row(f);
    const auto part = [&](std::size_t first, std::size_t size) {
      const auto some = row.subspan(first, size);
      return std::vector<float>(some.begin(), some.end());
    };
    out.dW_enc.push_back(part(0, at.d_in));
    out.dW_dec.push_back(part(at.decoder(), at.d_out));
    out.db_enc.push_back(row[at.bias()]);
    for (std::size_t i = 0; i < kFurther; ++i) out.further[i].push_back(row[at.further(i)]);
  }
  out.db_dec.assign(own.db_dec.span().begin(), own.db_dec.span().end());
  out.norm = own.scalars.data()[kNorm];
  return out;
}

// Those of the next step, without clipping; the SAE is then one step further.
inline StepGradients step_gradients(TrainedSae& sae, const Batch& batch) {
  OneRank rank(10, 0.0);
  sae.buffers.reset();
  (void)rank.step(sae, batch);
  return gradients_of(sae);
}

// Entries of the last step's selection, by row.
inline std::vector<std::uint64_t> entries_of_rows(const TrainedSae& sae) {
  const RowEntries entries = sae.buffers->entries.view();
  return {entries.counts.span().begin(), entries.counts.span().end()};
}

}  // namespace refract::testing_support
