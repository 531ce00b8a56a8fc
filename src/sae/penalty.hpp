#pragma once
// What asks for sparsity, as a step uses it: one row of a table each (penalty.cpp).
#include <cstdint>
#include <string_view>

#include "refract/ops/entry_penalty.hpp"
#include "refract/ops/step_sums.hpp"
#include "refract/sae/config.hpp"
#include "refract/sae/variant.hpp"

namespace refract {

class Penalty {
 public:
  explicit Penalty(const SaeConfig& config);
  [[nodiscard]] bool is_none() const { return kind_ == PenaltyKind::none && !counts_; }
  [[nodiscard]] bool needs_norms() const;
  [[nodiscard]] bool needs_rates() const { return kind_ == PenaltyKind::rate; }
  // From the entries that are penalised; the rates are then summed over ranks.
  void sum_rates(const RowEntries& entries, const Step& step) const;
  void finish_rates(const Step& step) const;
  [[nodiscard]] EntryPenalty of_entries(const StepBuffers& buffers) const;
  // Its part of the loss, at update number `step`, from 0.
  void weigh(std::uint64_t step, LossTerms& terms) const;

 private:
  PenaltyConfig config_;
  PenaltyKind kind_ = PenaltyKind::none;
  bool counts_ = false;
  bool free_norm_;
};

// ConfigError: an unknown kind, a number out of range, a setting that would change nothing, or l0
// of a variant whose thresholds do not train.
void check_penalty(const SaeConfig& config, std::string_view where);

}  // namespace refract
