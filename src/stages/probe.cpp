#include "refract/stages/probe.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "probe_neighbours.hpp"
#include "probe_scan.hpp"
#include "refract/base/activity.hpp"
#include "refract/base/parallel.hpp"
#include "refract/base/progress.hpp"

namespace refract {
namespace {

constexpr std::uint32_t kExampleRadius = 20;  // tokens shown on either side of a firing token
constexpr std::size_t kNeighbours = 5;
constexpr std::size_t kScratchFeatures = 32;  // features that share one scratch

std::size_t scratches_of(std::size_t features) {
  return (features + kScratchFeatures - 1) / kScratchFeatures;
}

struct Measured {
  Readability readability;
  std::vector<Example> examples;  // strongest first, at most probe.examples
  float max_activation = 0;
};

TopExamples collect(std::span<const TextRow> rows, const FeatureActs& acts, std::size_t feature,
                    float above, std::size_t limit, std::size_t per_document) {
  TopExamples top(limit, per_document);
  const auto fired = acts.rows_of(feature);
  const auto values = acts.values_of(feature);
  for (std::size_t i = 0; i < fired.size(); ++i)
    if (values[i] > above) top.add({rows[fired[i]], values[i]});
  return top;
}

// A phase of one probe: what the progress line and the watchdog name.
class Phase {
 public:
  Phase(const ProbeTarget& target, std::string_view what)
      : progress_(fmt::format("{}: {}", target.task, what), target.features, "features") {
    working(fmt::format("{}: {}", target.task, what));
  }
  void advance(std::size_t features) { progress_.advance(features); }

 private:
  Progress progress_;
};

std::vector<Measured> measure_all(const ProbeCorpus& corpus, const Scan& acts,
                                  const ProbeTarget& target) {
  Phase phase(target, "measure");
  const auto& [training, heldout] = acts;
  const std::size_t features = target.features;
  const ReadabilityMeasure measure(corpus.words(), corpus.background(), corpus.negatives());
  const ReadabilityRules& rules = measure.rules();
  std::vector<Measured> measured(features);
  parallel_for(scratches_of(features), [&](std::size_t panel) {
    std::vector<float> scratch;
    const std::size_t end = std::min(features, (panel + 1) * kScratchFeatures);
    for (std::size_t f = panel * kScratchFeatures; f < end; ++f) {
      if (training.rows_of(f).empty()) continue;
      const auto strongest =
          collect(corpus.training(), training, f, 0, rules.keyword_windows, rules.per_document)
              .sorted();
      Measured& m = measured[f];
      m.max_activation = strongest.front().activation;
      const auto threshold = static_cast<float>(rules.firing_share_of_maximum) * m.max_activation;
      const auto firing =
          collect(corpus.heldout(), heldout, f, threshold, rules.firing_windows, rules.per_document)
              .sorted();
      m.readability = measure(strongest, firing, scratch);
      const std::size_t shown = std::min<std::size_t>(strongest.size(), corpus.config().examples);
      m.examples.assign(strongest.begin(), strongest.begin() + static_cast<std::ptrdiff_t>(shown));
    }
    phase.advance(end - panel * kScratchFeatures);
  });
  return measured;
}

ReadableCount tally(const std::string& name, std::span<const Measured> measured) {
  ReadableCount count{.name = name, .features = measured.size()};
  const double good = ReadabilityRules{}.readable_auroc;
  for (const Measured& m : measured) {
    count.alive += m.max_activation > 0;
    count.scored += m.readability.scored;
    count.readable += m.readability.readable;
    count.predictable += m.readability.scored && m.readability.auroc >= good;
    count.single_token += m.readability.scored && m.readability.single_token;
  }
  return count;
}

// The end of the character that `at` is in: a window never shows half a character.
std::size_t character_end(const std::string& text, std::size_t at) {
  while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0u) == 0x80u) ++at;
  return at;
}

std::string token_text(const ProbeCorpus& corpus, const TextRow& row) {
  const ProbeDocument& document = corpus.document(row.document);
  const ByteSpan span = document.tokens.at(row.document_position);
  std::size_t begin = span.begin;
  while (begin > 0 && character_end(document.text, begin) != begin) --begin;
  return document.text.substr(begin, character_end(document.text, span.end) - begin);
}

float activation_at(const FeatureActs& acts, std::size_t feature, std::uint32_t row) {
  const auto rows = acts.rows_of(feature);
  const auto found = std::lower_bound(rows.begin(), rows.end(), row);
  return found != rows.end() && *found == row
             ? acts.values_of(feature)[static_cast<std::size_t>(found - rows.begin())]
             : 0.0F;
}

FeatureExample with_text(const ProbeCorpus& corpus, const FeatureActs& training,
                         std::size_t feature, const Example& example) {
  const ProbeDocument& document = corpus.document(example.row.document);
  const std::uint32_t center = example.row.document_position;
  const std::uint32_t low = center > kExampleRadius ? center - kExampleRadius : 0;
  const auto end =
      std::min<std::size_t>(std::size_t{center} + kExampleRadius + 1, document.tokens.size());
  const std::size_t begin = character_end(document.text, document.tokens[low].begin);
  FeatureExample shown{.row = example.row,
                       .activation = example.activation,
                       .title = document.title,
                       .url = document.url,
                       .text = {},
                       .center = center - low,
                       .token_ends = {},
                       .activations = {}};
  std::size_t at = begin;
  for (std::size_t t = low; t < end; ++t) {
    at = std::max(at, character_end(document.text, document.tokens[t].end));
    shown.token_ends.push_back(static_cast<std::uint32_t>(at - begin));
    const std::uint32_t row = document.training_row[t];
    shown.activations.push_back(row == kNoRow ? std::numeric_limits<float>::quiet_NaN()
                                              : activation_at(training, feature, row));
  }
  shown.text = document.text.substr(begin, at - begin);
  return shown;
}

FeatureFacts facts_of(const ProbeCorpus& corpus, const FeatureActs& training,
                      const FeatureActs& heldout, std::size_t feature, const Measured& measured) {
  const Readability& r = measured.readability;
  const auto share = [](std::size_t part, std::uint64_t whole) {
    return whole ? static_cast<float>(static_cast<double>(part) / static_cast<double>(whole))
                 : 0.0F;
  };
  FeatureFacts facts;
  facts.density = share(training.rows_of(feature).size(), training.included_rows);
  facts.density_heldout = share(heldout.rows_of(feature).size(), heldout.included_rows);
  facts.max_activation = measured.max_activation;
  if (!facts.alive()) return facts;
  facts.auroc = static_cast<float>(r.auroc);
  facts.token_share = static_cast<float>(r.token_share);
  facts.firing_windows = r.firing_windows;
  facts.firing_documents = r.firing_documents;
  facts.scored = r.scored;
  facts.readable = r.readable;
  facts.single_token = r.single_token;
  facts.frequent_token = token_text(corpus, r.frequent_row);
  for (const Keyword& keyword : r.keywords)
    facts.keywords.push_back(
        {corpus.words().word(keyword.word), static_cast<float>(keyword.log_odds)});
  for (const Example& example : measured.examples)
    facts.examples.push_back(with_text(corpus, training, feature, example));
  return facts;
}

}  // namespace

FeatureAtlas probe(const ProbeCorpus& corpus, const ProbeTarget& target) {
  const Scan acts = scan(corpus, target);
  const auto& [training, heldout] = acts;
  const auto measured = measure_all(corpus, acts, target);

  FeatureAtlas atlas{.name = target.name,
                     .hook = target.hook,
                     .training_rows = training.included_rows,
                     .training_documents = corpus.training_documents(),
                     .heldout_rows = heldout.included_rows,
                     .heldout_documents = corpus.heldout_documents(),
                     .count = tally("sae", measured),
                     .controls = {},
                     .features = {}};
  atlas.features.resize(target.features);
  {
    Phase phase(target, "examples");
    parallel_for(scratches_of(target.features), [&](std::size_t panel) {
      const std::size_t first = panel * kScratchFeatures,
                        end = std::min(target.features, first + kScratchFeatures);
      for (std::size_t f = first; f < end; ++f)
        atlas.features[f] = facts_of(corpus, training, heldout, f, measured[f]);
      phase.advance(end - first);
    });
  }
  if (target.parameters) {
    Phase phase(target, "neighbours");
    auto nearest = nearest_features(*target.parameters, kNeighbours,
                                    [&](std::size_t features) { phase.advance(features); });
    for (std::size_t f = 0; f < target.features; ++f)
      atlas.features[f].neighbours = std::move(nearest[f]);
  }
  return atlas;
}

ReadableCount count_readable(const ProbeCorpus& corpus, const ProbeTarget& target) {
  return tally(target.name, measure_all(corpus, scan(corpus, target), target));
}

}  // namespace refract
