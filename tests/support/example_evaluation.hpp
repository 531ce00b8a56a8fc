#pragma once
// An evaluation with the numbers of the research log: TopK, 2,560 features of 640 dimensions.
#include <string>

#include "refract/stages/evaluation_json.hpp"

namespace refract::test {

inline SaeEvaluation example_evaluation(double r2 = 0.6638) {
  SaeEvaluation evaluation;
  evaluation.name = "one";
  evaluation.hook = "blocks.4.hook_resid_post";
  evaluation.variant = "topk";
  evaluation.d_in = 640;
  evaluation.d_sae = 2560;
  evaluation.inference.rows = 90000;
  evaluation.inference.documents = 400;
  evaluation.inference.values = {{"r2", r2, 0.65, 0.68},
                                 {"l0", 50, 50, 50},
                                 {"density", 0.01953, 0.01953, 0.01953},
                                 {"dead_rate", 0.5582, 0.55, 0.57}};
  evaluation.densities.features.assign(32, 0);
  evaluation.decoder.pairs = evaluation.chance.pairs = 2560 * 2559 / 2;
  evaluation.decoder.cosine_p95 = 0.0936;
  evaluation.chance.cosine_p95 = 0.065;
  BaselineEvaluation& pca = evaluation.baselines.emplace_back();
  pca.name = "pca_topk";
  pca.facts.components = 640;
  pca.facts.kept = 50;
  pca.report.rows = 90000;
  pca.report.documents = 400;
  pca.report.values = {{"r2", 0.6, 0.59, 0.61}, {"l0", 50, 50, 50}};
  evaluation.spliced_loss.emplace();
  evaluation.spliced_loss->rows = 7000;
  evaluation.spliced_loss->documents = 40;
  evaluation.spliced_loss->values = {{"delta_ce", 0.4, 0.35, 0.45}};
  evaluation.verdicts = verdicts_of(evaluation, Advice::load(""));
  return evaluation;
}

inline std::string example_evaluation_text(double r2 = 0.6638, const std::string& weights = "w1") {
  return to_json(example_evaluation(r2), {{"store", "s"}, {"weights", weights}}) + "\n";
}

}  // namespace refract::test
