#include "refract/stages/evaluate.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "refract/base/error.hpp"
#include "refract/stages/decoder_geometry.hpp"
#include "refract/stages/evaluation_json.hpp"
#include "refract/stages/measure.hpp"

namespace refract {
namespace {

constexpr std::size_t kReplicates = 1000, kReplicatesOfCurves = 200;

std::string quoted(const EvaluatedSae& sae) { return fmt::format("SAE '{}'", sae.config->name); }

}  // namespace

void check(const EvaluateConfig& config) {
  check_baselines(config.baselines);
  if (config.ce && config.ce_tokens == 0)
    throw ConfigError(
        "evaluate.ce_tokens is 0. Give a number of tokens, e.g. 16384, or set evaluate.ce: false.");
}

MetricReport collective_evaluate_rows(const EvaluatedSae& sae, const ChunkReader& heldout,
                                      const HookCalibration& calibration, std::uint64_t seed,
                                      std::uint64_t max_rows, Communicator& ranks) {
  SaeReconstructor reconstructor(sae);
  const Measured measured{quoted(sae), &reconstructor};
  return collective_measure(
             HeldoutRows(heldout, only_target_hook(*sae.config), max_rows, only_hook(*sae.config)),
             {&measured, 1},
             {.reference = calibration.mean,
              .seed = seed,
              .replicates = kReplicatesOfCurves,
              .doing = {}},
             nullptr, ranks)
      .front()
      .report;
}

struct Evaluator::Body {
  const EvaluateConfig& config;
  EvaluationSources sources;
  SharedStop& stop;
  Communicator& ranks;
  using Hooks = std::pair<std::string, std::string>;  // read, reconstructed
  std::map<Hooks, HeldoutRows> rows;
  std::map<std::string, Baselines> baselines;  // by hook
  std::map<Hooks, SplicedLoss> spliced_loss;

  [[nodiscard]] Baselines& baselines_of(const HookCalibration& hook) {
    const auto found = baselines.find(hook.hook);
    if (found != baselines.end()) return found->second;
    return baselines
        .emplace(hook.hook, Baselines::collective_fit(config.baselines,
                                                      {.training = sources.evidence,
                                                       .calibration = &hook,
                                                       .max_rows = config.baseline_rows,
                                                       .seed = config.seed},
                                                      stop, ranks))
        .first->second;
  }

  [[nodiscard]] SplicedLoss& spliced_loss_of(const EvaluatedHooks& hooks) {
    const Hooks names(hooks.input.hook, hooks.target.hook);
    const auto found = spliced_loss.find(names);
    if (found != spliced_loss.end()) return found->second;
    return spliced_loss
        .emplace(names, SplicedLoss::collective_without_sae(
                            sources.model, sources.corpus, sources.heldout, hooks, config.ce_tokens,
                            config.seed, stop, ranks))
        .first->second;
  }

  [[nodiscard]] std::vector<Measurement> measure(const EvaluatedSae& sae,
                                                 const EvaluatedHooks& hooks,
                                                 std::span<const Measured> measured,
                                                 std::string_view what) {
    const std::string &input = hooks.input.hook, &target = hooks.target.hook;
    const HeldoutRows& of_hooks =
        rows.try_emplace({input, target}, sources.heldout, target, 0, input).first->second;
    return collective_measure(of_hooks, measured,
                              {.reference = hooks.target.mean,
                               .seed = config.seed,
                               .replicates = kReplicates,
                               .doing = fmt::format("evaluate {}: {}", sae.config->name, what)},
                              &stop, ranks);
  }

  void measure_sae(const EvaluatedSae& sae, const EvaluatedHooks& hooks, SaeEvaluation& out) {
    SaeReconstructor inference(sae), training(sae, SaeReconstructor::Mode::training);
    std::vector<Measured> measured{{quoted(sae), &inference}};
    if (sae.variant->has_training_mode())
      measured.push_back({quoted(sae) + " in training mode", &training});
    std::vector<Measurement> made = measure(sae, hooks, measured, "held-out rows");
    out.inference = std::move(made.front().report);
    out.densities = std::move(made.front().densities);
    if (made.size() > 1) out.training_mode = std::move(made.back().report);
  }

  // The frozen-random SAE is given back, where it was among them.
  [[nodiscard]] std::unique_ptr<Reconstructor> measure_baselines(const EvaluatedSae& sae,
                                                                 const EvaluatedHooks& hooks,
                                                                 SaeEvaluation& out) {
    if (config.baselines.empty() || !hooks.are_one()) return nullptr;
    const Baselines& fitted = baselines_of(hooks.target);
    std::vector<Baseline> made;
    std::vector<Measured> measured;
    for (const std::string& name : config.baselines) {
      made.push_back(fitted.at(name, sae, out.inference.of("l0").value));
      measured.push_back(
          {fmt::format("baseline {} of {}", name, quoted(sae)), made.back().reconstructor.get()});
    }
    std::vector<Measurement> reports = measure(sae, hooks, measured, "baselines");
    std::unique_ptr<Reconstructor> random;
    for (std::size_t i = 0; i < made.size(); ++i) {
      out.baselines.push_back({config.baselines[i], made[i].facts, std::move(reports[i].report)});
      if (config.baselines[i] == "random") random = std::move(made[i].reconstructor);
    }
    return random;
  }

  // random: null where it was not asked for.
  void measure_loss(const EvaluatedSae& sae, const EvaluatedHooks& hooks, Reconstructor* random,
                    SaeEvaluation& out) {
    const SplicedLoss& loss = spliced_loss_of(hooks);
    const auto report = [&](Reconstructor& reconstructor, const std::string& name) {
      MetricReport made = loss.collective_report(reconstructor, name, stop, ranks);
      return ranks.rank() == 0 ? std::optional(std::move(made)) : std::nullopt;
    };
    SaeReconstructor own(sae);
    out.spliced_loss = report(own, sae.config->name);
    if (random) out.random_spliced_loss = report(*random, sae.config->name + ", frozen random");
  }
};

Evaluator::Evaluator(const EvaluateConfig& config, const EvaluationSources& sources,
                     SharedStop& stop, Communicator& ranks)
    : body_(new Body{config, sources, stop, ranks, {}, {}, {}}) {
  check(config);
}
Evaluator::~Evaluator() = default;

SaeEvaluation Evaluator::collective_evaluate(const EvaluatedSae& sae) {
  const EvaluatedHooks hooks = evaluated_hooks(*sae.config, body_->sources.calibration);
  SaeEvaluation out;
  out.name = sae.config->name;
  out.hook = hook_text(*sae.config);
  out.variant = sae.config->variant;
  out.d_in = sae.parameters->d_in();
  out.d_sae = sae.parameters->d_sae();
  out.d_out = sae.parameters->d_out();
  if (!hooks.are_one()) out.target_hook = hooks.target.hook;
  body_->measure_sae(sae, hooks, out);
  const std::unique_ptr<Reconstructor> random = body_->measure_baselines(sae, hooks, out);
  out.decoder = collective_decoder_geometry(quoted(sae), sae.parameters->W_dec.cview(), body_->stop,
                                            body_->ranks);
  out.chance = collective_decoder_geometry(
      "a random decoder like that of " + quoted(sae),
      random_decoder(*sae.config, sae.parameters->d_out()).cview(), body_->stop, body_->ranks);
  if (body_->config.ce) body_->measure_loss(sae, hooks, random.get(), out);
  return out;
}

std::vector<Verdict> verdicts_of(const SaeEvaluation& evaluation, const Advice& advice) {
  return verdicts(advice, measured(evaluation));
}

}  // namespace refract
