#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "refract/base/error.hpp"
#include "refract/stages/probe.hpp"

namespace refract {
namespace {

// What a terminal would obey is replaced; so are line breaks, so that an example stays one line.
std::string printable(std::string_view text) {
  std::string line;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    line.push_back(byte < 0x20 || byte == 0x7F ? ' ' : c);
  }
  // C1 controls (U+0080..U+009F) are two bytes in UTF-8: C2 80..9F.
  for (std::size_t i = 0; i + 1 < line.size(); ++i)
    if (static_cast<unsigned char>(line[i]) == 0xC2u &&
        static_cast<unsigned char>(line[i + 1]) < 0xA0u)
      line.replace(i, 2, " ");
  return line;
}

std::string marked(const std::string& text, float strength, bool color) {
  if (!(strength > 0)) return text;
  if (!color) return "[" + text + "]";
  // Dim, plain and bold amber of the 256-colour table.
  const char* style = strength > 0.66F   ? "\x1b[1;38;5;214m"
                      : strength > 0.33F ? "\x1b[38;5;214m"
                                         : "\x1b[38;5;180m";
  return style + text + "\x1b[0m";
}

std::string line_of(const FeatureExample& example, float maximum, bool color) {
  std::string line;
  std::size_t begin = 0;
  for (std::size_t t = 0; t < example.token_ends.size(); ++t) {
    const std::size_t end = example.token_ends[t];
    const std::string piece = printable(std::string_view(example.text).substr(begin, end - begin));
    line += piece.empty() ? piece : marked(piece, example.activations[t] / maximum, color);
    begin = end;
  }
  return line;
}

std::string joined_keywords(const FeatureFacts& facts, std::size_t limit) {
  std::string text;
  for (std::size_t i = 0; i < std::min(limit, facts.keywords.size()); ++i)
    text += (i ? ", " : "") + printable(facts.keywords[i].word);
  return text.empty() ? "(no keywords)" : text;
}

std::string verdict(const FeatureFacts& f) {
  if (!f.alive()) return "never fires on the rows read";
  if (!f.scored)
    return fmt::format("not scored: fires in {} held-out documents", f.firing_documents);
  return fmt::format("{}: AUROC {:.2f} on {} held-out windows of {} documents",
                     f.readable       ? "readable"
                     : f.single_token ? "single token"
                                      : "not readable",
                     static_cast<double>(f.auroc), f.firing_windows, f.firing_documents);
}

}  // namespace

std::string describe_feature(const FeatureAtlas& atlas, std::size_t feature, bool color) {
  if (feature >= atlas.features.size())
    throw ConfigError(
        "feature {} does not exist: SAE {} has features 0 to {}. Give --feature one of them.",
        feature, atlas.name, atlas.features.size() - 1);
  const FeatureFacts& f = atlas.features[feature];
  std::string page = fmt::format("{} feature {}  {}\n  {}\n", atlas.name, feature, atlas.hook,
                                 joined_keywords(f, 12));
  page += fmt::format("  {}\n", verdict(f));
  if (!f.alive()) return page;
  page += fmt::format(
      "  fires on {:.3f} % of tokens, at most {:.3g}; {:.0f} % of firing tokens are \"{}\"\n",
      100 * static_cast<double>(f.density), static_cast<double>(f.max_activation),
      100 * static_cast<double>(f.token_share), printable(f.frequent_token));
  for (const FeatureNeighbour& n : f.neighbours)
    page +=
        fmt::format("  near {:>6}  cosine {:+.2f}  {}\n", n.feature, static_cast<double>(n.cosine),
                    joined_keywords(atlas.features.at(n.feature), 5));
  for (const FeatureExample& e : f.examples)
    page += fmt::format("\n{:8.3f}  {}\n          {}\n", static_cast<double>(e.activation),
                        printable(e.title), line_of(e, f.max_activation, color));
  return page;
}

}  // namespace refract
