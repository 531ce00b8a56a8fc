#pragma once
// Is a feature readable: do words found on training documents detect where it fires on documents
// never seen? The measure of SPEC section 8, as mathematics on rows and words; controls go through
// the same code.
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "refract/analysis/keywords.hpp"
#include "refract/analysis/top_examples.hpp"
#include "refract/analysis/words.hpp"

namespace refract {

struct ReadabilityRules {
  std::uint32_t window_radius = 12;  // tokens on either side, same document
  double firing_share_of_maximum =
      0.3;                       // a held-out row fires above this share of the training maximum
  std::size_t per_document = 3;  // windows of one document
  std::size_t firing_windows = 100;  // the strongest, at most
  std::size_t min_firing_documents = 8;
  std::size_t keyword_windows = 200;  // strongest training windows
  std::size_t min_keyword_documents = 20;
  std::size_t negative_windows = 2000;  // random held-out windows
  double sum_weight = 0.1;              // score = maximum + sum_weight · sum of keyword log-odds
  double readable_auroc = 0.85;
  double single_token_share = 0.5;
  KeywordRules keywords;
};

struct Readability {
  bool scored = false;                                      // enough documents on both sides
  double auroc = std::numeric_limits<double>::quiet_NaN();  // of a scored feature
  // Of the firing windows; of the strongest training rows where the feature is not scored.
  double token_share = 0;  // share of the most frequent firing token
  TextRow frequent_row;    // the strongest row with that token
  std::uint32_t firing_windows = 0, firing_documents = 0, training_documents = 0;
  bool single_token = false;  // token_share >= single_token_share
  bool readable = false;      // scored, auroc high enough, not single-token
  std::vector<Keyword> keywords;
};

class ReadabilityMeasure {
 public:
  // `words` holds every document of every row given here or to `operator()`; both must outlive this
  // object.
  ReadabilityMeasure(const WordCorpus& words, const Background& background,
                     std::span<const TextRow> negatives, const ReadabilityRules& rules = {});
  // strongest: the feature's training rows, from TopExamples(keyword_windows, per_document).
  // firing: held-out rows above the threshold, from TopExamples(firing_windows, per_document).
  // Thread-safe: scratch is the caller's and is left as it was found (all zero, grown to the
  // vocabulary).
  [[nodiscard]] Readability operator()(std::span<const Example> strongest,
                                       std::span<const Example> firing,
                                       std::vector<float>& scratch) const;
  [[nodiscard]] const ReadabilityRules& rules() const { return rules_; }

 private:
  [[nodiscard]] double score(std::span<const std::uint32_t> window,
                             std::span<const float> weights) const;
  const WordCorpus& words_;
  const Background& background_;
  ReadabilityRules rules_;
  std::vector<std::span<const std::uint32_t>> negatives_;  // their words
};

// Word counts of windows: occurrences, and documents they occur in, by word id ascending.
[[nodiscard]] std::vector<WordCount> count_words(const WordCorpus& words,
                                                 std::span<const Example> examples,
                                                 std::uint32_t radius, std::uint64_t& total);

}  // namespace refract
