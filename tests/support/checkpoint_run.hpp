#pragma once
// A run of two small SAEs that is nothing but a folder, a ledger and checkpoints: what its chunks
// hold and how it trains does not matter to them.
#include <fmt/format.h>

#include <memory>
#include <string>
#include <vector>

#include "refract/base/file.hpp"
#include "refract/comm/communicator.hpp"
#include "refract/pipeline/checkpoints.hpp"
#include "refract/store/chunk.hpp"

namespace refract::testing_support {

inline constexpr const char* kHook = "blocks.0.hook_resid_post";

class CheckpointRun {
 public:
  CheckpointRun(const fs::path& root, std::uint64_t visits, const std::string& keep = "all")
      : visits_(visits), folder_(run_folder(root, "model")) {
    config_.run = root;
    config_.checkpoint.keep = keep;
    config_.checkpoint.every_s = 1e9;  // `latest` at stops and at the end alone
    for (const char* name : {"a", "b"})
      config_.saes.push_back({.name = name, .hooks = {kHook}, .d_sae = 64, .k = 4});
    calibration_.hooks.push_back({.hook = kHook,
                                  .d_in = 4,
                                  .mean_norm = 2,
                                  .mean = std::vector<float>(4),
                                  .geometric_median = std::vector<float>(4),
                                  .covariance = {},
                                  .int8_scales = {}});
    make_folder(root);
    start();
  }

  // As a start after the end, or the death, of what ran before.
  Checkpoints::Restored start() {
    checkpoints_.reset();
    ledger_.reset();
    make_folder(folder_.root);
    for (const SaeConfig& sae : config_.saes) make_folder(folder_.checkpoints(sae.name));
    ledger_ = std::make_unique<Ledger>(folder_.ledger());
    checkpoints_ = std::make_unique<Checkpoints>(checkpointed(), ranks_,
                                                 [this](const CheckpointRecord& record) {
                                                   ledger_->checkpointed(record);
                                                   announced_.push_back(record);
                                                 });
    saes_ = initial();
    const Checkpoints::Restored restored = checkpoints_->collective_restore(saes_, runner_);
    for (const auto& [record, cause] : restored.withdrawn) ledger_->withdrawn(record, cause);
    position_ = restored.position;
    return restored;
  }

  // What makes weights of one visit differ from those of another.
  void train() {
    for (TrainedSae& sae : saes_) {
      sae.weights_digest.clear();
      sae.state.parameters.W_dec.data()[0] += 1;
      ++sae.state.step;
    }
  }
  void save_chunk() {
    position_ = {.visit = position_.visit + 1,
                 .steps_in_visit = 0,
                 .store_running = position_.store_running};
    std::vector<std::string> lines(saes_.size(), metrics_line(position_.visit - 1));
    checkpoints_->collective_save(position_, Checkpoints::Reason::visit_done, lines, saes_,
                                  runner_);
  }
  void save_within(Checkpoints::Reason reason) {
    ++position_.steps_in_visit;
    checkpoints_->collective_save(position_, reason, {}, saes_, runner_);
  }
  // Until the ledger names it and what it supersedes is gone.
  void settle() {
    while (checkpoints_->pending()) checkpoints_->poll();
    checkpoints_->prune();
  }

  [[nodiscard]] static std::string metrics_line(std::uint64_t visit) {
    return fmt::format(R"({{"chunk":{}}})", visit);
  }
  [[nodiscard]] CheckpointedRun checkpointed() {
    return {.config = config_,
            .folder = folder_,
            .store = "store",
            .saes = config_.saes,
            .training_digests = {"training a", "training b"},
            .visits = [this] { return visits_; },
            .initial = [this] { return initial(); },
            .expect_own = [this] { expect_own_(); }};
  }
  [[nodiscard]] std::vector<TrainedSae> initial() const {
    return make_trained_saes(config_.saes, calibration_, 1000);
  }
  [[nodiscard]] fs::path checkpoint(const std::string& sae, std::uint64_t visit) const {
    return folder_.checkpoints(sae) / chunk_name(visit);
  }
  [[nodiscard]] RunConfig& config() { return config_; }
  [[nodiscard]] const RunFolder& folder() const { return folder_; }
  [[nodiscard]] Ledger& ledger() { return *ledger_; }
  [[nodiscard]] Checkpoints& checkpoints() { return *checkpoints_; }
  [[nodiscard]] StepRunner& runner() { return runner_; }
  [[nodiscard]] std::vector<TrainedSae>& saes() { return saes_; }
  [[nodiscard]] const TrainingPosition& position() const { return position_; }
  [[nodiscard]] const std::vector<CheckpointRecord>& announced() const { return announced_; }
  void on_expect_own(std::function<void()> expect_own) { expect_own_ = std::move(expect_own); }

 private:
  std::uint64_t visits_;
  RunFolder folder_;
  RunConfig config_;
  CalibrationData calibration_;
  Communicator ranks_ = Communicator::loopback();
  StepRunner runner_{config_.train, 1, ranks_};
  std::function<void()> expect_own_ = [] {};
  std::vector<CheckpointRecord> announced_;
  std::unique_ptr<Ledger> ledger_;
  std::unique_ptr<Checkpoints> checkpoints_;
  std::vector<TrainedSae> saes_;
  TrainingPosition position_;
};

}  // namespace refract::testing_support
