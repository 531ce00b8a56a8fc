#include "refract/analysis/planted.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>

#include "refract/base/error.hpp"
#include "refract/base/parallel.hpp"

namespace refract {
namespace {

// What a stream of the seed is for; of those by row, the row is the key's last part.
enum Stream : std::uint64_t {
  kDirections,
  kConstant,
  kFactors,
  kGroups,
  kShared,
  kFires,
  kMagnitude,
  kWinner
};

// Rates of siblings are lowered until they leave so much of the parent's firings without any.
constexpr double kMostOfParent = 0.95;
// The share of a normal's variance that factors take, at most (SynthSAEBench keeps as much back).
constexpr double kMostShared = 0.99;

CounterRng stream(const PlantedConfig& config, Stream use, std::uint64_t part = 0) {
  return {Purpose::planted, {config.seed, use, part}};
}

// P(normal > z)
double upper_tail(double z) { return 0.5 * std::erfc(z / std::numbers::sqrt2); }

// The z that a normal exceeds with this chance.
double threshold_of(double chance) {
  if (chance >= 1) return -std::numeric_limits<double>::infinity();
  double low = -40, high = 40;
  for (int halvings = 0; halvings < 70; ++halvings) {
    const double middle = 0.5 * (low + high);
    (upper_tail(middle) > chance ? low : high) = middle;
  }
  return 0.5 * (low + high);
}

// E[1 / (1 + S)], S the number that fire of independent chances without the one at `without`.
double chance_to_win(std::span<const double> chances, std::size_t without) {
  std::vector<double> count{1.0};  // P(S = s)
  for (std::size_t i = 0; i < chances.size(); ++i) {
    if (i == without) continue;
    count.push_back(0);
    for (std::size_t s = count.size() - 1; s > 0; --s)
      count[s] = count[s] * (1 - chances[i]) + count[s - 1] * chances[i];
    count[0] *= 1 - chances[i];
  }
  double expected = 0;
  for (std::size_t s = 0; s < count.size(); ++s) expected += count[s] / static_cast<double>(s + 1);
  return expected;
}

// Chances with which siblings would fire, so that each is left with `wanted` once one of those that
// do was drawn. From below, so the sequence rises to the smallest solution.
std::vector<double> chances_before_draw(const std::vector<double>& wanted) {
  constexpr int kRounds = 500;
  std::vector<double> chances = wanted;
  for (int round = 0; round < kRounds; ++round) {
    std::vector<double> next(chances.size());
    for (std::size_t i = 0; i < chances.size(); ++i)
      next[i] = std::min(1.0, wanted[i] / chance_to_win(chances, i));
    chances = std::move(next);
  }
  return chances;
}

void normalise(std::span<double> row) {
  double squared = 0;
  for (const double value : row) squared += value * value;
  for (double& value : row) value /= std::sqrt(squared);
}

void check(const PlantedConfig& config) {
  if (config.d_in == 0 || config.features < 2)
    throw ConfigError("a planted truth has {} features in {} dimensions; it needs two and one.",
                      config.features, config.d_in);
  if (!(config.firing_least > 0 && config.firing_least < config.firing_most &&
        config.firing_most < 1 && config.firing_exponent > 0))
    throw ConfigError(
        "planted firing rates fall from {} to {} with exponent {}; expected 0 < least < most < 1 "
        "and an exponent above 0.",
        config.firing_most, config.firing_least, config.firing_exponent);
}

}  // namespace

PlantedTruth::PlantedTruth(const PlantedConfig& config) : config_(config) {
  check(config);
  plant_forest();
  plant_rates();
  plant_correlation();
  plant_directions();
}

void PlantedTruth::plant_forest() {
  const std::size_t G = config_.features;
  const std::size_t roots =
      config_.branching == 0 ? G : std::clamp<std::size_t>(config_.roots, 1, G);
  groups_.push_back({0, roots, std::nullopt, false});
  std::size_t next = roots, level_first = 0;
  for (std::size_t depth = 0; depth < config_.depth && next < G; ++depth) {
    const std::size_t level_last = next;
    for (std::size_t f = level_first; f < level_last && next < G; ++f) {
      const std::size_t count = std::min(config_.branching, G - next);
      groups_.push_back({next, count, f, false});
      next += count;
    }
    level_first = level_last;
  }
  if (next < G) groups_.push_back({next, G - next, std::nullopt, false});

  std::vector<std::size_t> eligible;
  for (std::size_t g = 0; g < groups_.size(); ++g)
    if (groups_[g].parent && groups_[g].count > 1) eligible.push_back(g);
  const std::vector<std::uint32_t> order =
      permutation(static_cast<std::uint32_t>(eligible.size()), stream(config_, kGroups));
  const auto exclusive =
      static_cast<std::size_t>(config_.exclusive_share * static_cast<double>(eligible.size()));
  for (std::size_t i = 0; i < exclusive; ++i) groups_[eligible[order[i]]].exclusive = true;

  for (std::size_t g = 0; g < groups_.size(); ++g)
    group_of_.insert(group_of_.end(), groups_[g].count, g);
}

void PlantedTruth::plant_rates() {
  const std::size_t G = config_.features;
  const auto power = [&](std::size_t rank) {
    return std::pow(static_cast<double>(rank), -config_.firing_exponent);
  };
  for (std::size_t f = 0; f < G; ++f)
    rates_.push_back(config_.firing_least + (config_.firing_most - config_.firing_least) *
                                                (power(f + 1) - power(G)) / (1 - power(G)));
  thresholds_.resize(G);
  for (const Group& group : groups_) {
    const std::span<double> rates = std::span(rates_).subspan(group.first, group.count);
    const double parent = group.parent ? rates_[*group.parent] : 1;
    if (group.parent) {
      const double wanted = group.exclusive ? std::accumulate(rates.begin(), rates.end(), 0.0)
                                            : *std::ranges::max_element(rates);
      const double scale = std::min(1.0, kMostOfParent * parent / wanted);
      for (double& rate : rates) rate *= scale;
    }
    std::vector<double> chances;
    for (const double rate : rates) chances.push_back(rate / parent);
    if (group.exclusive) chances = chances_before_draw(chances);
    for (std::size_t i = 0; i < group.count; ++i)
      thresholds_[group.first + i] = threshold_of(chances[i]);
  }
}

void PlantedTruth::plant_correlation() {
  const CounterRng rng = stream(config_, kFactors);
  factors_.resize(config_.features * config_.factors);
  for (std::size_t i = 0; i < factors_.size(); ++i)
    factors_[i] = config_.correlation_scale * rng.normal(i);
  for (std::size_t f = 0; f < config_.features; ++f) {
    const std::span<double> row = std::span(factors_).subspan(f * config_.factors, config_.factors);
    double shared = std::inner_product(row.begin(), row.end(), row.begin(), 0.0);
    if (shared > kMostShared) {
      for (double& value : row) value *= std::sqrt(kMostShared / shared);
      shared = kMostShared;
    }
    own_std_.push_back(std::sqrt(1 - shared));
  }
}

// The sum of squared cosines of all pairs is |V^T V|^2 - G, its gradient 4 V V^T V; its least value
// is that of a tight frame, G^2 / D - G (Welch), where V^T V = G / D.
void PlantedTruth::plant_directions() {
  const std::size_t G = config_.features, D = config_.d_in;
  const CounterRng rng = stream(config_, kDirections);
  std::vector<double> V(G * D);
  const auto row = [&](std::size_t f) { return std::span(V).subspan(f * D, D); };
  for (std::size_t i = 0; i < V.size(); ++i) V[i] = rng.normal(i);
  for (std::size_t f = 0; f < G; ++f) normalise(row(f));

  std::vector<double> square(D * D), moved(G * D);
  // The largest eigenvalue of V^T V of random rows is near (1 + sqrt(G / D))^2: no step overshoots.
  const double root = 1 + std::sqrt(static_cast<double>(G) / static_cast<double>(D));
  const double rate = 0.5 / (root * root);
  for (std::size_t step = 0; step < config_.spread_steps; ++step) {
    parallel_for(D, [&](std::size_t a) {
      const std::span<double> to = std::span(square).subspan(a * D, D);
      std::ranges::fill(to, 0.0);
      for (std::size_t f = 0; f < G; ++f)
        for (std::size_t b = 0; b < D; ++b) to[b] += V[f * D + a] * V[f * D + b];
    });
    parallel_for(G, [&](std::size_t f) {
      const std::span<double> to = std::span(moved).subspan(f * D, D);
      std::ranges::copy(row(f), to.begin());
      for (std::size_t a = 0; a < D; ++a)
        for (std::size_t b = 0; b < D; ++b) to[b] -= rate * V[f * D + a] * square[a * D + b];
      normalise(to);
    });
    V.swap(moved);
  }
  directions_ = Tensor<float>(Shape{G, D});
  std::ranges::transform(V, directions_.data(), [](double v) { return static_cast<float>(v); });

  const CounterRng constant = stream(config_, kConstant);
  std::vector<double> unit(D);
  for (std::size_t d = 0; d < D; ++d) unit[d] = constant.normal(d);
  normalise(unit);
  for (const double value : unit)
    constant_.push_back(static_cast<float>(config_.constant_norm * value));
}

// values [G], overwritten: the row's activations, 0 where a feature does not fire.
void PlantedTruth::fire(std::uint64_t row, std::span<float> values) const {
  const std::size_t G = config_.features, rank = config_.factors;
  const CounterRng shared = stream(config_, kShared, row), fires = stream(config_, kFires, row),
                   magnitude = stream(config_, kMagnitude, row),
                   winner = stream(config_, kWinner, row);
  std::vector<double> factor(rank);
  for (std::size_t k = 0; k < rank; ++k) factor[k] = shared.normal(k);
  std::ranges::fill(values, 0.0F);
  std::vector<std::size_t> active;
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    const Group& group = groups_[g];
    if (group.parent && values[*group.parent] == 0) continue;
    active.clear();
    for (std::size_t f = group.first; f < group.first + group.count; ++f) {
      const double common =
          std::inner_product(factor.begin(), factor.end(), factors_.data() + f * rank, 0.0);
      if (fires.uniform(f) >= upper_tail((thresholds_[f] - common) / own_std_[f])) continue;
      const double mean =
          config_.magnitude_first + (config_.magnitude_last - config_.magnitude_first) *
                                        static_cast<double>(f) / static_cast<double>(G - 1);
      values[f] =
          static_cast<float>(std::max(0.0, mean + config_.magnitude_std * magnitude.normal(f)));
      if (values[f] > 0) active.push_back(f);
    }
    if (!group.exclusive || active.size() < 2) continue;
    const std::size_t kept = active[winner.below(g, active.size())];
    for (const std::size_t f : active)
      if (f != kept) values[f] = 0;
  }
}

PlantedRows PlantedTruth::rows(std::uint64_t first, std::size_t n) const {
  constexpr std::size_t kTogether = 32;
  const std::size_t G = config_.features, D = config_.d_in;
  PlantedRows out;
  out.x = Tensor<float>(Shape{n, D});
  std::vector<std::vector<std::pair<std::uint32_t, float>>> codes(n);
  parallel_for((n + kTogether - 1) / kTogether, [&](std::size_t piece) {
    std::vector<float> values(G);
    for (std::size_t i = piece * kTogether; i < std::min(n, (piece + 1) * kTogether); ++i) {
      fire(first + i, values);
      const std::span<float> x = out.x.row(i);
      std::ranges::copy(constant_, x.begin());
      for (std::size_t f = 0; f < G; ++f) {
        if (values[f] == 0) continue;
        codes[i].emplace_back(static_cast<std::uint32_t>(f), values[f]);
        const float* direction = directions_.data() + f * D;
        for (std::size_t d = 0; d < D; ++d) x[d] += values[f] * direction[d];
      }
    }
  });
  out.row_starts.push_back(0);
  for (const auto& row : codes) {
    for (const auto& [feature, value] : row) {
      out.features.push_back(feature);
      out.values.push_back(value);
    }
    out.row_starts.push_back(out.features.size());
  }
  return out;
}

double PlantedTruth::mean_active() const {
  return std::accumulate(rates_.begin(), rates_.end(), 0.0);
}

std::optional<std::size_t> PlantedTruth::parent(std::size_t feature) const {
  return groups_[group_of_[feature]].parent;
}

bool PlantedTruth::exclude_each_other(std::size_t a, std::size_t b) const {
  return a != b && group_of_[a] == group_of_[b] && groups_[group_of_[a]].exclusive;
}

double PlantedTruth::correlation(std::size_t a, std::size_t b) const {
  if (a == b) return 1;
  const double* factors = factors_.data();
  return std::inner_product(factors + a * config_.factors, factors + (a + 1) * config_.factors,
                            factors + b * config_.factors, 0.0);
}

}  // namespace refract
