#include "sae/ragged_entries.hpp"

namespace refract {

void RaggedEntries::reset(std::size_t rows) {
  panels_.resize((rows + kPanelRows - 1) / kPanelRows);
  for (Panel& panel : panels_) {
    panel.features.clear();
    panel.values.clear();
    panel.dots.clear();
  }
  starts_.assign(rows, 0);
  counts_.assign(rows, 0);
}

void RaggedEntries::compress(SparseActs& acts) {
  acts.row_starts.assign(1, 0);
  acts.features.clear();
  acts.values.clear();
  for (std::size_t i = 0; i < rows(); ++i) {
    const RowView entries = row(i);
    acts.features.insert(acts.features.end(), entries.features, entries.features + entries.count);
    acts.values.insert(acts.values.end(), entries.values, entries.values + entries.count);
    acts.row_starts.push_back(acts.features.size());
  }
}

void RaggedEntries::compress_gradients(float factor, float offset, std::vector<float>& pre_grads) {
  pre_grads.clear();
  for (std::size_t i = 0; i < rows(); ++i) {
    const RowView entries = row(i);
    for (std::size_t j = 0; j < entries.count; ++j)
      pre_grads.push_back(factor * entries.dots[j] + offset);
  }
}

}  // namespace refract
