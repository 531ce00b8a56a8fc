#include "refract/pipeline/run.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "refract/base/file.hpp"
#include "refract/base/stop.hpp"
#include "refract/pipeline/identity.hpp"
#include "refract/pipeline/numerics.hpp"
#include "refract/pipeline/preflight.hpp"
#include "refract/store/file_digests.hpp"

namespace refract {
namespace {

using Json = nlohmann::ordered_json;

// The name of the store's folder stays once a store is in it, whatever the model's folder is called
// now: the model is known by its content.
RunFolder folder_of(const RunConfig& config) {
  const RunFolder named = run_folder(config.run, model_display_name(config.model));
  std::error_code ignored;
  if (!fs::exists(named.run_yaml(), ignored)) return named;
  const std::string frozen = read_frozen(named.run_yaml()).inputs.model_name;
  const RunFolder kept = run_folder(config.run, frozen);
  return !frozen.empty() && fs::exists(kept.calibration(), ignored) ? kept : named;
}

std::string to_text(const RunInputs& inputs) {
  return Json{{"model", inputs.model_digest},
              {"token", inputs.claim.token},
              {"own_store", inputs.own_store}}
      .dump();
}

// The corpus and the claim's file hold paths, which JSON may not: the one is sent by itself, the
// other every rank knows.
RunInputs run_inputs_from(const std::string& text, const std::string& corpus,
                          const fs::path& claim) {
  const Json json = Json::parse(text);
  return {.model_digest = json.at("model"),
          .corpus = download_plan_from_text(corpus),
          .claim = {claim, json.at("token")},
          .own_store = json.at("own_store")};
}

}  // namespace

Run::Run(RunConfig config, Communicator& world)
    : config_(std::move(config)),
      world_(world),
      folder_(folder_of(config_)),
      row_rule_(parse_row_rule(config_.rows.take)) {
  for (const std::string& hook : config_.hooks) hooks_.push_back(parse_hook_point(hook));
}

const ModelInfo& Run::model_info() {
  if (!model_info_)
    model_info_ = std::make_unique<ModelInfo>(read_model_info(model_folder(config_)));
  return *model_info_;
}

const LanguageModel& Run::model() {
  if (!model_) {
    model_ = load_language_model(model_folder(config_));
    for (const HookPoint hook : hooks_) model_->require(hook);
  }
  return *model_;
}

const Tokenizer& Run::tokenizer() {
  if (!tokenizer_) tokenizer_ = open_tokenizer(config_, model_info());
  return *tokenizer_;
}

RunInputs Run::find_inputs(Asks asks) const {
  RunInputs found{
      .model_digest = {}, .corpus = plan_download(config_.source, config_.data_root), .claim = {}};
  (void)check_before_start(config_, found.corpus, asks);
  FileDigests digests(config_.data_root);
  found.model_digest = model_digest(model_folder(config_), [&](const fs::path& file) {
    return digests.sha256(file, stop_point);
  });
  return found;
}

void Run::collective_open(const RunInputs& found) {
  // One listing for all: a source may be remote, and must look the same to every rank.
  std::string text = world_.rank() == 0 ? to_text(found) : std::string();
  std::string corpus = world_.rank() == 0 ? to_text(found.corpus) : std::string();
  world_.broadcast_string(text, 0);
  world_.broadcast_string(corpus, 0);
  inputs_ = run_inputs_from(text, corpus, folder_.lock());
}

}  // namespace refract
