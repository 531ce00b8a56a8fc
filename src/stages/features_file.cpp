#include <algorithm>
#include <functional>
#include <string>
#include <utility>

#include "refract/base/activity.hpp"
#include "refract/base/error.hpp"
#include "refract/base/stop.hpp"
#include "refract/stages/features.hpp"

// Schema "features". Per feature: columns of length F. Keywords, examples, neighbours
// and the tokens of an example's window are lists: <list>/starts holds where each owner's begins,
// as in compressed rows.
namespace refract {
namespace {

template <typename T, typename Member>
std::vector<T> column(const auto& items, Member member) {
  std::vector<T> values;
  values.reserve(items.size());
  for (const auto& item : items) values.push_back(static_cast<T>(member(item)));
  return values;
}

template <typename Item>
std::vector<std::uint64_t> starts_of(const std::vector<FeatureFacts>& features,
                                     std::vector<Item> FeatureFacts::*list) {
  std::vector<std::uint64_t> starts{0};
  for (const FeatureFacts& f : features) starts.push_back(starts.back() + (f.*list).size());
  return starts;
}

template <typename Item>
std::vector<std::reference_wrapper<const Item>> concatenated(
    const std::vector<FeatureFacts>& features, std::vector<Item> FeatureFacts::*list) {
  std::vector<std::reference_wrapper<const Item>> items;
  for (const FeatureFacts& f : features)
    items.insert(items.end(), (f.*list).begin(), (f.*list).end());
  return items;
}

// A column of the file being built; a stop point, since a large dictionary has gigabytes of them.
template <typename T>
void add(TableWriter& writer, const std::string& name, std::vector<T> values,
         const std::string& axes) {
  stop_point();
  writer.add(name, std::move(values), axes);
}

void add_text(TableWriter& writer, const std::string& name, const std::vector<std::string>& values,
              const std::string& axes) {
  stop_point();
  writer.add_strings(name, values, axes);
}

void add_counts(TableWriter& writer, const std::string& prefix, const ReadableCount& count) {
  writer.attribute(prefix + "_name", count.name);
  writer.attribute(prefix + "_features", count.features);
  writer.attribute(prefix + "_alive", count.alive);
  writer.attribute(prefix + "_scored", count.scored);
  writer.attribute(prefix + "_readable", count.readable);
  writer.attribute(prefix + "_predictable", count.predictable);
  writer.attribute(prefix + "_single_token", count.single_token);
}

ReadableCount read_counts(const TableFile& file, const std::string& prefix) {
  return {.name = file.text_attribute(prefix + "_name"),
          .features = file.count_attribute(prefix + "_features"),
          .alive = file.count_attribute(prefix + "_alive"),
          .scored = file.count_attribute(prefix + "_scored"),
          .readable = file.count_attribute(prefix + "_readable"),
          .predictable = file.count_attribute(prefix + "_predictable"),
          .single_token = file.count_attribute(prefix + "_single_token")};
}

std::string control_prefix(std::uint64_t i) { return "control" + std::to_string(i); }

void add_facts(TableWriter& writer, const std::vector<FeatureFacts>& features) {
  using F = FeatureFacts;
  add(writer, "density", column<float>(features, [](const F& f) { return f.density; }), "F");
  add(writer, "density_heldout",
      column<float>(features, [](const F& f) { return f.density_heldout; }), "F");
  add(writer, "max_activation",
      column<float>(features, [](const F& f) { return f.max_activation; }), "F");
  add(writer, "auroc", column<float>(features, [](const F& f) { return f.auroc; }), "F");
  add(writer, "token_share", column<float>(features, [](const F& f) { return f.token_share; }),
      "F");
  add(writer, "firing_windows",
      column<std::uint32_t>(features, [](const F& f) { return f.firing_windows; }), "F");
  add(writer, "firing_documents",
      column<std::uint32_t>(features, [](const F& f) { return f.firing_documents; }), "F");
  add(writer, "scored", column<std::uint8_t>(features, [](const F& f) { return f.scored; }), "F");
  add(writer, "readable", column<std::uint8_t>(features, [](const F& f) { return f.readable; }),
      "F");
  add(writer, "single_token",
      column<std::uint8_t>(features, [](const F& f) { return f.single_token; }), "F");
  add_text(writer, "frequent_token",
           column<std::string>(features, [](const F& f) { return f.frequent_token; }), "F");
}

void add_lists(TableWriter& writer, const std::vector<FeatureFacts>& features) {
  using K = FeatureKeyword;
  using N = FeatureNeighbour;
  const auto keywords = concatenated(features, &FeatureFacts::keywords);
  add(writer, "keywords/starts", starts_of(features, &FeatureFacts::keywords), "F+1");
  add_text(writer, "keywords/word",
           column<std::string>(keywords, [](const K& k) { return k.word; }), "keywords");
  add(writer, "keywords/log_odds", column<float>(keywords, [](const K& k) { return k.log_odds; }),
      "keywords");
  const auto neighbours = concatenated(features, &FeatureFacts::neighbours);
  add(writer, "neighbours/starts", starts_of(features, &FeatureFacts::neighbours), "F+1");
  add(writer, "neighbours/feature",
      column<std::uint32_t>(neighbours, [](const N& n) { return n.feature; }), "neighbours");
  add(writer, "neighbours/cosine", column<float>(neighbours, [](const N& n) { return n.cosine; }),
      "neighbours");
}

void add_examples(TableWriter& writer, const std::vector<FeatureFacts>& features) {
  using E = FeatureExample;
  const auto examples = concatenated(features, &FeatureFacts::examples);
  add(writer, "examples/starts", starts_of(features, &FeatureFacts::examples), "F+1");
  add(writer, "examples/context",
      column<std::uint64_t>(examples, [](const E& e) { return e.row.context; }), "examples");
  add(writer, "examples/position",
      column<std::uint32_t>(examples, [](const E& e) { return e.row.position; }), "examples");
  add(writer, "examples/token",
      column<std::uint32_t>(examples, [](const E& e) { return e.row.token; }), "examples");
  add(writer, "examples/document",
      column<std::uint64_t>(examples, [](const E& e) { return e.row.document; }), "examples");
  add(writer, "examples/document_position",
      column<std::uint32_t>(examples, [](const E& e) { return e.row.document_position; }),
      "examples");
  add(writer, "examples/activation",
      column<float>(examples, [](const E& e) { return e.activation; }), "examples");
  add(writer, "examples/center",
      column<std::uint32_t>(examples, [](const E& e) { return e.center; }), "examples");
  add_text(writer, "examples/title",
           column<std::string>(examples, [](const E& e) { return e.title; }), "examples");
  add_text(writer, "examples/url", column<std::string>(examples, [](const E& e) { return e.url; }),
           "examples");
  add_text(writer, "examples/text",
           column<std::string>(examples, [](const E& e) { return e.text; }), "examples");
  std::vector<std::uint64_t> starts{0};
  std::vector<std::uint32_t> ends;
  std::vector<float> activations;
  for (const E& e : examples) {
    ends.insert(ends.end(), e.token_ends.begin(), e.token_ends.end());
    activations.insert(activations.end(), e.activations.begin(), e.activations.end());
    starts.push_back(ends.size());
  }
  add(writer, "examples/windows/starts", std::move(starts), "examples+1");
  add(writer, "examples/windows/token_end", std::move(ends), "windows");
  add(writer, "examples/windows/activation", std::move(activations), "windows");
}

[[noreturn]] void bad_list(const TableFile& file, const std::string& name) {
  throw Damaged("{} is damaged: its list {} does not fit its starts", file.path().string(), name);
}

// starts[owners + 1] ascending, ending at the length of the list.
std::vector<std::uint64_t> read_starts(const TableFile& file, const std::string& name,
                                       std::size_t owners, std::size_t items) {
  auto starts = file.read<std::uint64_t>(name);
  if (starts.size() != owners + 1 || starts.front() != 0 || starts.back() != items ||
      !std::is_sorted(starts.begin(), starts.end()))
    bad_list(file, name);
  return starts;
}

template <typename T>
std::vector<T> read_column(const TableFile& file, const std::string& name, std::size_t size) {
  auto values = file.read<T>(name);
  if (values.size() != size) bad_list(file, name);
  return values;
}

void read_facts(const TableFile& file, std::vector<FeatureFacts>& features) {
  const auto density = file.read<float>("density");
  const std::size_t F = density.size();
  features.resize(F);
  const auto density_heldout = read_column<float>(file, "density_heldout", F);
  const auto max_activation = read_column<float>(file, "max_activation", F);
  const auto auroc = read_column<float>(file, "auroc", F);
  const auto token_share = read_column<float>(file, "token_share", F);
  const auto firing_windows = read_column<std::uint32_t>(file, "firing_windows", F);
  const auto firing_documents = read_column<std::uint32_t>(file, "firing_documents", F);
  const auto scored = read_column<std::uint8_t>(file, "scored", F);
  const auto readable = read_column<std::uint8_t>(file, "readable", F);
  const auto single_token = read_column<std::uint8_t>(file, "single_token", F);
  const auto frequent_token = file.read_strings("frequent_token");
  if (frequent_token.size() != F) bad_list(file, "frequent_token");
  for (std::size_t f = 0; f < F; ++f) {
    FeatureFacts& facts = features[f];
    facts.density = density[f];
    facts.density_heldout = density_heldout[f];
    facts.max_activation = max_activation[f];
    facts.auroc = auroc[f];
    facts.token_share = token_share[f];
    facts.firing_windows = firing_windows[f];
    facts.firing_documents = firing_documents[f];
    facts.scored = scored[f] != 0;
    facts.readable = readable[f] != 0;
    facts.single_token = single_token[f] != 0;
    facts.frequent_token = frequent_token[f];
  }
}

void read_lists(const TableFile& file, std::vector<FeatureFacts>& features) {
  const auto words = file.read_strings("keywords/word");
  const auto log_odds = read_column<float>(file, "keywords/log_odds", words.size());
  const auto keyword_starts = read_starts(file, "keywords/starts", features.size(), words.size());
  const auto near = file.read<std::uint32_t>("neighbours/feature");
  const auto cosine = read_column<float>(file, "neighbours/cosine", near.size());
  const auto near_starts = read_starts(file, "neighbours/starts", features.size(), near.size());
  for (std::size_t f = 0; f < features.size(); ++f) {
    for (auto i = keyword_starts[f]; i < keyword_starts[f + 1]; ++i)
      features[f].keywords.push_back({words[i], log_odds[i]});
    for (auto i = near_starts[f]; i < near_starts[f + 1]; ++i) {
      if (near[i] >= features.size()) bad_list(file, "neighbours/feature");
      features[f].neighbours.push_back({near[i], cosine[i]});
    }
  }
}

void read_windows(const TableFile& file, std::vector<FeatureExample>& examples) {
  const auto ends = file.read<std::uint32_t>("examples/windows/token_end");
  const auto activations = read_column<float>(file, "examples/windows/activation", ends.size());
  const auto starts = read_starts(file, "examples/windows/starts", examples.size(), ends.size());
  for (std::size_t i = 0; i < examples.size(); ++i) {
    const auto from = static_cast<std::ptrdiff_t>(starts[i]),
               to = static_cast<std::ptrdiff_t>(starts[i + 1]);
    FeatureExample& e = examples[i];
    e.token_ends.assign(ends.begin() + from, ends.begin() + to);
    e.activations.assign(activations.begin() + from, activations.begin() + to);
    const bool whole = !e.token_ends.empty() && e.center < e.token_ends.size() &&
                       std::is_sorted(e.token_ends.begin(), e.token_ends.end()) &&
                       e.token_ends.back() == e.text.size();
    if (!whole) bad_list(file, "examples/windows/token_end");
  }
}

void read_examples(const TableFile& file, std::vector<FeatureFacts>& features) {
  const auto context = file.read<std::uint64_t>("examples/context");
  const std::size_t n = context.size();
  const auto position = read_column<std::uint32_t>(file, "examples/position", n);
  const auto token = read_column<std::uint32_t>(file, "examples/token", n);
  const auto document = read_column<std::uint64_t>(file, "examples/document", n);
  const auto document_position = read_column<std::uint32_t>(file, "examples/document_position", n);
  const auto activation = read_column<float>(file, "examples/activation", n);
  const auto center = read_column<std::uint32_t>(file, "examples/center", n);
  auto title = file.read_strings("examples/title");
  auto url = file.read_strings("examples/url");
  auto text = file.read_strings("examples/text");
  if (title.size() != n || url.size() != n || text.size() != n) bad_list(file, "examples/text");
  const auto starts = read_starts(file, "examples/starts", features.size(), n);
  std::vector<FeatureExample> examples(n);
  for (std::size_t i = 0; i < n; ++i)
    examples[i] = {.row = {.context = context[i],
                           .document = document[i],
                           .position = position[i],
                           .document_position = document_position[i],
                           .token = token[i]},
                   .activation = activation[i],
                   .title = std::move(title[i]),
                   .url = std::move(url[i]),
                   .text = std::move(text[i]),
                   .center = center[i],
                   .token_ends = {},
                   .activations = {}};
  read_windows(file, examples);
  for (std::size_t f = 0; f < features.size(); ++f)
    for (auto i = starts[f]; i < starts[f + 1]; ++i)
      features[f].examples.push_back(std::move(examples[i]));
}

// What is damaged is made again by probe and by run, which look first.
template <typename Read>
auto with_advice(const std::filesystem::path& path, Read&& read) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored))
    throw DataError("{} is not there: that SAE was not probed yet. Run refract probe first.",
                    path.string());
  try {
    const LibraryCall call;
    return read(TableFile(path, {.schema = "features", .version = kSchemaVersion, .parents = {}}));
  } catch (const Damaged& damaged) {
    throw Damaged("{}. Run refract probe: it makes the file again.", damaged.what());
  }
}

}  // namespace

TableWriter features_table(const std::filesystem::path& path, const FeatureAtlas& atlas,
                           const Parents& parents) {
  TableWriter writer(path, {.schema = "features",
                            .version = kSchemaVersion,
                            .stage = "probe",
                            .parents = parents,
                            .software_version = {}});
  writer.attribute("sae", atlas.name);
  writer.attribute("hook", atlas.hook);
  writer.attribute("training_rows", atlas.training_rows);
  writer.attribute("training_documents", atlas.training_documents);
  writer.attribute("heldout_rows", atlas.heldout_rows);
  writer.attribute("heldout_documents", atlas.heldout_documents);
  add_counts(writer, "count", atlas.count);
  writer.attribute("controls", std::uint64_t{atlas.controls.size()});
  for (std::size_t i = 0; i < atlas.controls.size(); ++i)
    add_counts(writer, control_prefix(i), atlas.controls[i]);
  add_facts(writer, atlas.features);
  add_lists(writer, atlas.features);
  add_examples(writer, atlas.features);
  return writer;
}

std::string write_features(TableWriter table) {
  const LibraryCall call;
  return table.finish();
}

FeatureAtlas read_features(const std::filesystem::path& path) {
  return with_advice(path, [](const TableFile& file) {
    file.verify_content();
    FeatureAtlas atlas{.name = file.text_attribute("sae"),
                       .hook = file.text_attribute("hook"),
                       .training_rows = file.count_attribute("training_rows"),
                       .training_documents = file.count_attribute("training_documents"),
                       .heldout_rows = file.count_attribute("heldout_rows"),
                       .heldout_documents = file.count_attribute("heldout_documents"),
                       .count = read_counts(file, "count"),
                       .controls = {},
                       .features = {}};
    for (std::uint64_t i = 0; i < file.count_attribute("controls"); ++i)
      atlas.controls.push_back(read_counts(file, control_prefix(i)));
    read_facts(file, atlas.features);
    read_lists(file, atlas.features);
    read_examples(file, atlas.features);
    return atlas;
  });
}

Parents features_parents(const std::filesystem::path& path) {
  return with_advice(path, [](const TableFile& file) { return file.header().parents; });
}

FeaturesOrigin verify_features(const std::filesystem::path& path) {
  return with_advice(path, [](const TableFile& file) {
    file.verify_content();
    return FeaturesOrigin{file.content_digest(), file.header().parents};
  });
}

}  // namespace refract
