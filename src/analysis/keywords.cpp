#include "refract/analysis/keywords.hpp"

#include <algorithm>
#include <cmath>
#include <tuple>

namespace refract {

std::vector<Keyword> log_odds_keywords(std::span<const WordCount> foreground,
                                       std::uint64_t foreground_total, const Background& background,
                                       const KeywordRules& rules) {
  const auto n = static_cast<double>(foreground_total);
  const auto big_n = static_cast<double>(background.total);
  std::vector<Keyword> keywords;
  for (const WordCount& w : foreground) {
    if (w.count < rules.min_count || w.documents < rules.min_documents) continue;
    const double y = w.count;
    const auto big_y = static_cast<double>(background.counts[w.word]);
    const double a = rules.prior_words * big_y / big_n;
    // Words that fill their side entirely leave nothing to be odds against; half a word stands for
    // it.
    const double rest = std::max(0.5, n + rules.prior_words - y - a);
    const double big_rest = std::max(0.5, big_n + rules.prior_words - big_y - a);
    const double delta = std::log((y + a) / rest) - std::log((big_y + a) / big_rest);
    const double z = delta / std::sqrt(1 / (y + a) + 1 / (big_y + a));
    if (delta > 0 && z > rules.min_z) keywords.push_back({w.word, delta, z});
  }
  const auto better = [](const Keyword& p, const Keyword& q) {
    return std::tuple(-p.z, p.word) < std::tuple(-q.z, q.word);
  };
  std::sort(keywords.begin(), keywords.end(), better);
  if (keywords.size() > rules.limit) keywords.resize(rules.limit);
  return keywords;
}

}  // namespace refract
