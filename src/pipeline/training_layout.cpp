#include "refract/pipeline/training_layout.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <regex>

#include "refract/base/error.hpp"
#include "refract/pipeline/disk_plan.hpp"
#include "refract/sae/variant.hpp"

namespace refract {
namespace {

// From so many rows on the memory of replicated moments and the time of replicated updates count
// for more than one collective call the fewer.
constexpr std::uint64_t kFewRows = 4;

std::uint64_t smallest_dictionary(const RunConfig& config) {
  std::uint64_t panels = ~std::uint64_t{0};
  for (const SaeConfig& sae : config.saes)
    panels = std::min<std::uint64_t>(panels, panels_of(sae.d_sae));
  return panels;
}

bool resamples(const RunConfig& config) {
  return std::ranges::any_of(config.saes,
                             [](const SaeConfig& sae) { return sae.resample.every_steps != 0; });
}

// The exchanges that the settings leave open for this mesh.
std::vector<std::string> exchanges(const RunConfig& config, const MeshShape& mesh) {
  if (mesh.rows == 1) return {"all_reduce"};
  if (config.train.exchange != "auto") return {config.train.exchange};
  return {mesh.rows < kFewRows ? "all_reduce" : "sharded"};
}

}  // namespace

MeshShape parse_mesh(const std::string& text) {
  if (text == "auto") return {0, 0};
  static const std::regex form(R"(\s*rows:\s*([1-9]\d{0,5})\s*,\s*features:\s*([1-9]\d{0,5})\s*)");
  std::smatch match;
  if (!std::regex_match(text, match, form))
    throw ConfigError(
        "train.mesh is '{}'; expected auto or {{rows: R, features: C}}, e.g. "
        "{{rows: 4, features: 1}}",
        text);
  return {std::stoul(match[1]), std::stoul(match[2])};
}

LayoutCost layout_cost(const RunConfig& config, const ModelInfo& model,
                       const TrainingLayout& layout) {
  const auto rows = static_cast<double>(layout.mesh.rows),
             columns = static_cast<double>(layout.mesh.features),
             wire = config.train.wire == "bf16" ? 2.0 : 4.0,
             batch = static_cast<double>(config.train.batch_rows) / rows;
  const bool sharded = layout.exchange == "sharded";
  double most_sent = 0, most_held = 0;
  for (const std::vector<std::size_t>& group : saes_of_groups(config, layout.groups)) {
    double sent = 0, held = 0;
    for (const std::size_t i : group) {
      const SaeConfig& sae = config.saes[i];
      const GradientRow row{input_width(sae, model), target_width(sae, model)};
      const auto d_in = static_cast<double>(row.d_in), d_out = static_cast<double>(row.d_out),
                 gradient = static_cast<double>(row.size()), weights = 4 * (d_in + d_out + 1),
                 features = static_cast<double>(sae.d_sae) / columns;
      const StepShape shape = make_variant(sae, row.d_in, 1)->shape();
      sent += (rows - 1) / rows * features *
              (sharded ? wire * gradient + weights : 2 * wire * gradient);
      sent += (columns - 1) / columns * batch * 4 *
                  (d_in + 2 * d_out * static_cast<double>(shape.errors())) +
              (columns - 1) * batch * 8 * static_cast<double>(largest_k(sae) + shape.aux_k);
      const double share = sharded ? rows : 1;
      held += features * (2 * weights + (2 * weights + 4 * gradient) / share);
    }
    most_sent = std::max(most_sent, sent);
    most_held = std::max(most_held, held);
  }
  return {layout, static_cast<std::uint64_t>(most_sent), static_cast<std::uint64_t>(most_held)};
}

std::vector<std::vector<std::size_t>> saes_of_groups(const RunConfig& config,
                                                     std::uint64_t groups) {
  std::vector<std::size_t> order(config.saes.size());
  std::iota(order.begin(), order.end(), 0U);
  std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) {
    return config.saes[a].d_sae > config.saes[b].d_sae;
  });
  std::vector<std::vector<std::size_t>> dealt(groups);
  std::vector<std::uint64_t> features(groups, 0);
  for (const std::size_t i : order) {
    const auto least =
        static_cast<std::size_t>(std::ranges::min_element(features) - features.begin());
    dealt[least].push_back(i);
    features[least] += config.saes[i].d_sae;
  }
  for (std::vector<std::size_t>& group : dealt) std::ranges::sort(group);
  return dealt;
}

std::vector<LayoutCost> layouts_weighed(const RunConfig& config, const ModelInfo& model,
                                        int ranks) {
  const std::uint64_t groups = config.train.groups, all = static_cast<std::uint64_t>(ranks);
  if (groups > config.saes.size())
    throw ConfigError(
        "train.groups is {}, but there are {} SAEs to deal to them. Give at most {} groups.",
        groups, config.saes.size(), config.saes.size());
  if (all % groups != 0)
    throw ConfigError(
        "train.groups is {}, but {} ranks train, which cannot be dealt evenly to so many. Give a "
        "number of groups that divides the ranks.",
        groups, ranks);
  const std::uint64_t size = all / groups;
  const MeshShape asked = parse_mesh(config.train.mesh);
  std::vector<LayoutCost> costs;
  for (std::uint64_t columns = 1; columns <= size; ++columns) {
    const MeshShape mesh{size / columns, columns};
    if (size % columns != 0 || (asked.rows != 0 && mesh != asked)) continue;
    if (asked.rows == 0 && columns > 1 &&
        (config.train.reduction == "ordered" || resamples(config) ||
         columns > smallest_dictionary(config)))
      continue;
    for (const std::string& exchange : exchanges(config, mesh))
      costs.push_back(layout_cost(config, model, {groups, mesh, exchange}));
  }
  if (costs.empty())
    throw ConfigError(
        "train.mesh is {} x {} ranks, but {} ranks train{}. Give rows and features whose product "
        "is that, or auto.",
        asked.rows, asked.features, size, groups > 1 ? " in each group" : "");
  if (const MeshShape mesh = costs.front().layout.mesh; asked.rows != 0) {
    if (mesh.features > 1 && config.train.reduction == "ordered")
      throw ConfigError(
          "train.mesh has {} columns, but train.reduction is ordered, which adds in the order of "
          "one rank: a dictionary that is dealt to ranks cannot. Set features: 1, or reduction: "
          "fast.",
          mesh.features);
    if (mesh.features > 1 && resamples(config))
      throw ConfigError(
          "train.mesh has {} columns, but an SAE has resample.every_steps, which a dictionary that "
          "is dealt to ranks cannot do. Set features: 1, or every_steps: 0.",
          mesh.features);
    if (mesh.features > smallest_dictionary(config))
      throw ConfigError(
          "train.mesh has {} columns, but the smallest SAE has {} panels of {} features. Give at "
          "most {} columns.",
          mesh.features, smallest_dictionary(config), kPanelFeatures, smallest_dictionary(config));
  }
  std::ranges::stable_sort(costs, {}, &LayoutCost::sent_bytes);
  return costs;
}

TrainingLayout training_layout(const RunConfig& config, const ModelInfo& model, int ranks) {
  return layouts_weighed(config, model, ranks).front().layout;
}

std::string describe(const TrainingLayout& layout) {
  const std::string mesh = fmt::format("{} x {} ranks (rows x features), {}", layout.mesh.rows,
                                       layout.mesh.features, layout.exchange);
  return layout.groups == 1 ? mesh : fmt::format("{} groups of {}", layout.groups, mesh);
}

}  // namespace refract
