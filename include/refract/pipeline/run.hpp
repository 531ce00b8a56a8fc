#pragma once
// What a run is made from: its settings and folder, its inputs by content, the model and its
// tokenizer. Opened when first needed, the same on every rank.
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "refract/comm/communicator.hpp"
#include "refract/lm/language_model.hpp"
#include "refract/order/row_rule.hpp"
#include "refract/pipeline/run_config.hpp"
#include "refract/pipeline/run_folder.hpp"
#include "refract/stages/download.hpp"
#include "refract/store/claim.hpp"
#include "refract/tokenizer/tokenizer.hpp"

namespace refract {

// Found once by world rank 0, the same on every rank.
struct RunInputs {
  std::string model_digest;  // of config.json and the weights
  DownloadPlan corpus;
  ClaimMark claim;  // on the run, for every rank to look at before it renames
  // The run's own store was begun with these settings and inputs: a file in it that does not fit
  // them was put there, and is made again like a damaged one.
  bool own_store = false;
};

class Run {
 public:
  Run(RunConfig config, Communicator& world);

  // World rank 0: lists the source, checks what can be known before anything is computed
  // (preflight.hpp), and digests the model's files unless that was done before.
  [[nodiscard]] RunInputs find_inputs(Asks asks = Asks::everything) const;
  // Collective over the world; rank 0 says what it found.
  void collective_open(const RunInputs& found);

  [[nodiscard]] const RunConfig& config() const { return config_; }
  [[nodiscard]] const RunFolder& folder() const { return folder_; }
  [[nodiscard]] Communicator& world() { return world_; }
  [[nodiscard]] const RunInputs& inputs() const { return inputs_; }
  // SystemError when another job took the run over. Before each rename of what the run owns; any
  // thread.
  void expect_own() const { refract::expect_own(inputs_.claim); }

  [[nodiscard]] const std::vector<HookPoint>& hooks() const { return hooks_; }
  [[nodiscard]] const RowRule& row_rule() const { return row_rule_; }
  [[nodiscard]] const ModelInfo& model_info();
  [[nodiscard]] const LanguageModel& model();
  [[nodiscard]] const Tokenizer& tokenizer();

 private:
  RunConfig config_;
  Communicator& world_;
  RunFolder folder_;
  std::vector<HookPoint> hooks_;
  RowRule row_rule_;
  RunInputs inputs_;
  std::unique_ptr<ModelInfo> model_info_;
  std::unique_ptr<LanguageModel> model_;
  std::unique_ptr<Tokenizer> tokenizer_;
};

}  // namespace refract
