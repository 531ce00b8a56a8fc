#pragma once
// Keywords by log-odds with an informative Dirichlet prior (Monroe, Colaresi, Quinn 2008, "Fightin'
// Words", equations 15, 20 and 22). Foreground: the words of a feature's windows. Background: the
// words of the corpus.
//
//   a_w   = prior_words · p_w,  p_w the word's share of the background: what we expect before
//   looking delta = log((y_w + a_w) / (n + a_0 - y_w - a_w)) - log((Y_w + a_w) / (N + a_0 - Y_w -
//   a_w)) z     = delta / sqrt(1 / (y_w + a_w) + 1 / (Y_w + a_w))
//
// Ranked by z, which grows with evidence and not with rarity. A word seen in too few windows or
// documents is no keyword whatever its z: a name that one article repeats says nothing about a
// feature.
#include <cstdint>
#include <span>
#include <vector>

namespace refract {

struct WordCount {
  std::uint32_t word = 0;       // word id
  std::uint32_t count = 0;      // y_w: occurrences in the foreground
  std::uint32_t documents = 0;  // foreground documents it occurs in
};

struct Background {
  std::vector<std::uint64_t> counts;  // [vocabulary] Y_w
  std::uint64_t total = 0;            // N
};

struct KeywordRules {
  std::size_t limit = 30;
  double min_z = 2.0;
  double prior_words = 500.0;  // a_0: the prior weighs as many words as this
  std::uint32_t min_count = 4;
  std::uint32_t min_documents = 3;
};

struct Keyword {
  std::uint32_t word = 0;
  double log_odds = 0;  // delta
  double z = 0;
};

// At most `limit` words with z > min_z and delta > 0, by z descending, then word id.
[[nodiscard]] std::vector<Keyword> log_odds_keywords(std::span<const WordCount> foreground,
                                                     std::uint64_t foreground_total,
                                                     const Background& background,
                                                     const KeywordRules& rules = {});

}  // namespace refract
