#pragma once
// (feature, value, gradient) entries of rows, any number for each row: memory follows what is
// there. Rows are filled panel by panel (panel_encoder.hpp), a panel by one thread, its rows in
// order.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "refract/sae/variant.hpp"
#include "sae/panel_encoder.hpp"
#include "sae/row_entries.hpp"

namespace refract {

class RaggedEntries {
 public:
  void reset(std::size_t rows);
  [[nodiscard]] std::size_t rows() const { return starts_.size(); }
  void append(std::size_t row, std::uint32_t feature, float value) {
    Panel& panel = panels_[row / kPanelRows];
    if (counts_[row]++ == 0) starts_[row] = panel.features.size();
    panel.features.push_back(feature);
    panel.values.push_back(value);
    panel.dots.push_back(0.0F);
  }
  // Valid until the next append to a row of its panel.
  [[nodiscard]] RowView row(std::size_t row) {
    Panel& panel = panels_[row / kPanelRows];
    const std::size_t at = starts_[row];
    return {counts_[row], panel.features.data() + at, panel.values.data() + at,
            panel.dots.data() + at};
  }
  void compress(SparseActs& acts);
  // factor * dots + offset, in the order of compress().
  void compress_gradients(float factor, float offset, std::vector<float>& pre_grads);

 private:
  struct Panel {
    std::vector<std::uint32_t> features;
    std::vector<float> values, dots;
  };
  std::vector<Panel> panels_;
  std::vector<std::size_t> starts_;    // [n], in the row's panel
  std::vector<std::uint32_t> counts_;  // [n]
};

}  // namespace refract
