#include "probe_scan.hpp"

#include <algorithm>

#include "refract/base/activity.hpp"
#include "refract/base/error.hpp"
#include "refract/base/progress.hpp"
#include "refract/base/stop.hpp"

namespace refract {
namespace {

constexpr std::uint64_t kPanelRows = 4096;

// The entries of one panel; `at` is the corpus index of its row 0. Excluded rows have been emptied.
struct Panel {
  std::uint64_t at = 0;
  SparseActs acts;
};

Panel encode_panel(const ChunkReader& chunk, const ProbeCorpus::Piece& piece, std::uint64_t first,
                   std::uint64_t rows, const ProbeTarget& target, NormalisedReader& reader,
                   std::uint64_t& included_rows) {
  const Tensor<float> x = reader.read(chunk, piece.first + first, rows);
  const auto excluded = read_excluded(chunk, target.input, piece.first + first, rows);

  SparseActs all;
  target.encode(x.cview(), piece.first + first, all);

  Panel panel{piece.at + first, {}};
  panel.acts.row_starts.push_back(0);
  for (std::size_t i = 0; i < rows; ++i) {
    included_rows += excluded[i] == 0;
    for (std::uint64_t e = all.row_starts[i]; excluded[i] == 0 && e < all.row_starts[i + 1]; ++e) {
      if (!(all.values[e] > 0)) continue;
      panel.acts.features.push_back(all.features[e]);
      panel.acts.values.push_back(all.values[e]);
    }
    panel.acts.row_starts.push_back(panel.acts.features.size());
  }
  return panel;
}

// A counting sort by feature; panels come in row order, so rows of a feature ascend.
FeatureActs by_feature(std::vector<Panel>& panels, std::size_t features) {
  FeatureActs result;
  result.starts.assign(features + 1, 0);
  for (const Panel& panel : panels) {
    stop_point();
    for (const std::uint32_t f : panel.acts.features) {
      REFRACT_ASSERT(f < features, "feature {} of {}", f, features);
      ++result.starts[f + 1];
    }
  }
  for (std::size_t f = 0; f < features; ++f) result.starts[f + 1] += result.starts[f];
  result.rows.resize(result.starts.back());
  result.values.resize(result.starts.back());
  std::vector<std::uint64_t> next(result.starts.begin(), result.starts.end() - 1);
  for (Panel& panel : panels) {
    stop_point();
    for (std::size_t i = 0; i + 1 < panel.acts.row_starts.size(); ++i)
      for (std::uint64_t e = panel.acts.row_starts[i]; e < panel.acts.row_starts[i + 1]; ++e) {
        const std::uint64_t to = next[panel.acts.features[e]]++;
        result.rows[to] = static_cast<std::uint32_t>(panel.at + i);
        result.values[to] = panel.acts.values[e];
      }
    panel.acts = {};  // freed as we go
  }
  return result;
}

FeatureActs scan_pieces(const ProbeCorpus& corpus, std::span<const ProbeCorpus::Piece> pieces,
                        const ProbeTarget& target, Progress& progress) {
  std::uint64_t included_rows = 0;
  std::vector<Panel> panels;
  NormalisedReader reader(target.input);
  for (const ProbeCorpus::Piece& piece : pieces) {
    const ChunkReader chunk = corpus.open(piece);
    for (std::uint64_t first = 0; first < piece.rows; first += kPanelRows) {
      stop_point();
      const std::uint64_t rows = std::min(kPanelRows, piece.rows - first);
      panels.push_back(encode_panel(chunk, piece, first, rows, target, reader, included_rows));
      progress.advance(rows);
    }
  }
  FeatureActs acts = by_feature(panels, target.features);
  acts.included_rows = included_rows;
  return acts;
}

}  // namespace

Scan scan(const ProbeCorpus& corpus, const ProbeTarget& target) {
  const std::string task = target.task + ": encode";
  working(task);
  Progress progress(task, corpus.training().size() + corpus.heldout().size(), "rows");
  Scan result;
  result.training = scan_pieces(corpus, corpus.training_pieces(), target, progress);
  result.heldout = scan_pieces(corpus, corpus.heldout_pieces(), target, progress);
  return result;
}

}  // namespace refract
