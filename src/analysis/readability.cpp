#include "refract/analysis/readability.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "refract/analysis/auroc.hpp"

namespace refract {
namespace {

std::size_t document_count(std::span<const Example> examples) {
  std::set<std::uint64_t> documents;
  for (const Example& e : examples) documents.insert(e.row.document);
  return documents.size();
}

struct Share {
  TextRow row;  // the strongest of the token
  double share = 0;
};

// Ties: the token that fires more strongly.
Share most_frequent_token(std::span<const Example> strongest_first) {
  std::map<std::uint32_t, std::size_t> counts;
  for (const Example& e : strongest_first) ++counts[e.row.token];
  Share best;
  for (const Example& e : strongest_first) {
    const double share =
        static_cast<double>(counts[e.row.token]) / static_cast<double>(strongest_first.size());
    if (share > best.share) best = {e.row, share};
  }
  return best;
}

}  // namespace

std::vector<WordCount> count_words(const WordCorpus& words, std::span<const Example> examples,
                                   std::uint32_t radius, std::uint64_t& total) {
  std::vector<std::pair<std::uint32_t, std::uint64_t>> seen;  // (word, document)
  for (const Example& e : examples)
    for (const std::uint32_t word : words.window(e.row.document, e.row.document_position, radius))
      seen.emplace_back(word, e.row.document);
  std::sort(seen.begin(), seen.end());
  total = seen.size();
  std::vector<WordCount> counts;
  for (std::size_t i = 0; i < seen.size(); ++i) {
    const bool new_word = i == 0 || seen[i].first != seen[i - 1].first;
    if (new_word) counts.push_back({seen[i].first, 0, 0});
    ++counts.back().count;
    counts.back().documents += new_word || seen[i].second != seen[i - 1].second;
  }
  return counts;
}

ReadabilityMeasure::ReadabilityMeasure(const WordCorpus& words, const Background& background,
                                       std::span<const TextRow> negatives,
                                       const ReadabilityRules& rules)
    : words_(words), background_(background), rules_(rules) {
  for (const TextRow& row : negatives)
    negatives_.push_back(words.window(row.document, row.document_position, rules.window_radius));
}

double ReadabilityMeasure::score(std::span<const std::uint32_t> window,
                                 std::span<const float> weights) const {
  double maximum = 0, sum = 0;
  for (const std::uint32_t word : window) {
    maximum = std::max(maximum, static_cast<double>(weights[word]));
    sum += static_cast<double>(weights[word]);
  }
  return maximum + rules_.sum_weight * sum;
}

Readability ReadabilityMeasure::operator()(std::span<const Example> strongest,
                                           std::span<const Example> firing,
                                           std::vector<float>& scratch) const {
  Readability result;
  result.training_documents = static_cast<std::uint32_t>(document_count(strongest));
  result.firing_windows = static_cast<std::uint32_t>(firing.size());
  result.firing_documents = static_cast<std::uint32_t>(document_count(firing));
  result.scored = result.training_documents >= rules_.min_keyword_documents &&
                  result.firing_documents >= rules_.min_firing_documents;
  const Share share = most_frequent_token(result.scored ? firing : strongest);
  result.token_share = share.share;
  result.frequent_row = share.row;
  result.single_token = share.share >= rules_.single_token_share;

  std::uint64_t total = 0;
  const auto counts = count_words(words_, strongest, rules_.window_radius, total);
  result.keywords = log_odds_keywords(counts, total, background_, rules_.keywords);
  if (!result.scored) return result;

  scratch.resize(words_.vocabulary(), 0.0F);
  for (const Keyword& keyword : result.keywords)
    scratch[keyword.word] = static_cast<float>(keyword.log_odds);
  std::vector<double> positive, negative;
  for (const Example& e : firing)
    positive.push_back(score(
        words_.window(e.row.document, e.row.document_position, rules_.window_radius), scratch));
  for (const auto window : negatives_) negative.push_back(score(window, scratch));
  for (const Keyword& keyword : result.keywords) scratch[keyword.word] = 0.0F;

  result.auroc = auroc(positive, negative);
  result.readable = result.auroc >= rules_.readable_auroc && !result.single_token;
  return result;
}

}  // namespace refract
