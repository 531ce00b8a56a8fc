#include "refract/sae/weight_gradients.hpp"

#include <algorithm>

#include "refract/base/error.hpp"
#include "refract/base/parallel.hpp"
#include "sae/row_kernels.hpp"

namespace refract {
namespace {

// Features handed to a thread at a time; any number gives the same bytes.
constexpr std::size_t kFeaturesPerItem = 16;

void expect_range(const SaeParameters& parameters, const FeatureGradients& gradients) {
  const std::size_t last = gradients.first + gradients.count;
  // A rank may own no panel at all, behind the last.
  REFRACT_ASSERT(
      (gradients.count == 0 || gradients.first % kPanelFeatures == 0) && last <= parameters.d_sae(),
      "first {} count {} d_sae {}", gradients.first, gradients.count, parameters.d_sae());
}

}  // namespace

FeatureGradients make_feature_gradients(const SaeParameters& parameters, std::size_t first,
                                        std::size_t count) {
  const std::size_t d_in = parameters.d_in();
  FeatureGradients made;
  made.first = first;
  made.count = count;
  made.dW_enc = Tensor<float>(Shape{count, d_in});
  made.db_enc = Tensor<float>(Shape{count});
  made.dW_dec = Tensor<float>(Shape{count, d_in});
  if (parameters.threshold.size() != 0) made.dthreshold = Tensor<float>(Shape{count});
  return made;
}

void WeightGradients::gather(const SaeParameters& parameters, TensorView<const float> x,
                             const RowGradients& rows) {
  x_ = x;
  rows_ = &rows;
  const std::size_t n = x.axis(0), d_sae = parameters.d_sae();
  terms_.resize(rows.terms.size());
  parallel_for(terms_.size(), [&](std::size_t t) {
    const GradientTerm& from = rows.terms[t];
    REFRACT_ASSERT(from.acts.row_starts.size() == n + 1, "row_starts {} rows {}",
                   from.acts.row_starts.size(), n);
    Term& to = terms_[t];
    to.starts.assign(d_sae + 2, 0);
    for (const std::uint32_t feature : from.acts.features) ++to.starts[feature + 2];
    for (std::size_t f = 2; f < to.starts.size(); ++f) to.starts[f] += to.starts[f - 1];
    to.entries.resize(from.acts.features.size());
    const bool threshold = !from.threshold_grads.empty();
    for (std::size_t row = 0; row < n; ++row)
      for (std::uint64_t j = from.acts.row_starts[row]; j < from.acts.row_starts[row + 1]; ++j)
        // starts[f + 1] is where feature f's next entry goes; after the last one it is where f + 1
        // starts.
        to.entries[to.starts[from.acts.features[j] + 1]++] = {
            static_cast<std::uint32_t>(row), from.acts.values[j], from.pre_grads[j],
            threshold ? from.threshold_grads[j] : 0.0F};
  });
}

void WeightGradients::accumulate(const SaeParameters& parameters, FeatureGradients& out) const {
  expect_range(parameters, out);
  const std::size_t d_in = parameters.d_in();
  parallel_for((out.count + kFeaturesPerItem - 1) / kFeaturesPerItem, [&](std::size_t item) {
    std::vector<const float*> x_rows, v_rows;
    std::vector<float> values, pre_grads;
    for (std::size_t i = item * kFeaturesPerItem;
         i < std::min(out.count, (item + 1) * kFeaturesPerItem); ++i) {
      float *dW_enc = out.dW_enc.data() + i * d_in, *dW_dec = out.dW_dec.data() + i * d_in;
      float db_enc = 0, dthreshold = 0;
      std::fill_n(dW_enc, d_in, 0.0F);
      std::fill_n(dW_dec, d_in, 0.0F);
      for (std::size_t t = 0; t < terms_.size(); ++t) {
        const std::size_t begin = terms_[t].starts[out.first + i],
                          end = terms_[t].starts[out.first + i + 1];
        const std::size_t count = end - begin;
        x_rows.resize(count), v_rows.resize(count), values.resize(count), pre_grads.resize(count);
        for (std::size_t j = 0; j < count; ++j) {
          const Entry& entry = terms_[t].entries[begin + j];
          x_rows[j] = x_.data() + entry.row * d_in;
          v_rows[j] = rows_->terms[t].v.data() + entry.row * d_in;
          values[j] = entry.value;
          pre_grads[j] = entry.pre_grad;
          db_enc += entry.pre_grad;
          dthreshold += entry.threshold_grad;
        }
        add_scaled_rows(v_rows.data(), values.data(), count, d_in, dW_dec);
        add_scaled_centred_rows(x_rows.data(), pre_grads.data(), count, parameters.b_dec.data(),
                                d_in, dW_enc);
      }
      out.db_enc.data()[i] = db_enc;
      if (out.dthreshold.size() != 0) out.dthreshold.data()[i] = dthreshold;
    }
  });
}

void finish_gradients(const SaeParameters& parameters, FeatureGradients& gradients,
                      PanelSums& sums) {
  expect_range(parameters, gradients);
  const std::size_t d_in = parameters.d_in(),
                    panels = (gradients.count + kPanelFeatures - 1) / kPanelFeatures;
  sums.squared_norm.assign(panels, 0.0);
  sums.db_dec.assign(panels * d_in, 0.0);
  parallel_for(panels, [&](std::size_t panel) {
    double squared = 0;
    double* db_dec = sums.db_dec.data() + panel * d_in;
    const std::size_t last = std::min(gradients.count, (panel + 1) * kPanelFeatures);
    for (std::size_t i = panel * kPanelFeatures; i < last; ++i) {
      const float* direction = parameters.W_dec.data() + (gradients.first + i) * d_in;
      float* dW_dec = gradients.dW_dec.data() + i * d_in;
      // Movement along a unit row only changes its length, which is set back after the update.
      const float along = -dot(dW_dec, direction, d_in);
      add_scaled_rows(&direction, &along, 1, d_in, dW_dec);
      // An entry at its bound that a descent would push below it does not move, so it has no slope
      // either: neither the norm that clips all gradients nor the moments may see one.
      if (parameters.non_negative_decoder)
        for (std::size_t d = 0; d < d_in; ++d)
          if (direction[d] == 0 && dW_dec[d] > 0) dW_dec[d] = 0;
      const double db_enc = static_cast<double>(gradients.db_enc.data()[i]);
      squared += squared_norm(dW_dec, d_in) +
                 squared_norm(gradients.dW_enc.data() + i * d_in, d_in) + db_enc * db_enc;
      if (gradients.dthreshold.size() != 0)
        squared += squared_norm(gradients.dthreshold.data() + i, 1);
      const float* encoder = parameters.W_enc.data() + (gradients.first + i) * d_in;
      for (std::size_t d = 0; d < d_in; ++d) db_dec[d] -= db_enc * static_cast<double>(encoder[d]);
    }
    sums.squared_norm[panel] = squared;
  });
}

BiasGradient bias_gradient(std::span<const double> decoder_part, const PanelSums& panels) {
  const std::size_t d_in = decoder_part.size();
  BiasGradient out;
  out.db_dec.assign(decoder_part.begin(), decoder_part.end());
  for (std::size_t panel = 0; panel < panels.squared_norm.size(); ++panel) {
    out.squared_norm += panels.squared_norm[panel];
    for (std::size_t d = 0; d < d_in; ++d) out.db_dec[d] += panels.db_dec[panel * d_in + d];
  }
  for (const double value : out.db_dec) out.squared_norm += value * value;
  return out;
}

}  // namespace refract
