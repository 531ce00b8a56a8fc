#pragma once
// GPT-2 in fp64, one token at a time and one loop per formula: the oracle of the language-model
// tests. It shares nothing with src/lm but the file reader. `mutation` plants one classic error, to
// show that the gate catches it.
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <numbers>
#include <span>
#include <string>
#include <vector>

#include "refract/base/file.hpp"
#include "refract/store/safetensors.hpp"

namespace refract::test {

enum class Mutation { none, eps, erf_gelu, no_scale, one_key_short, not_transposed, skip_position };

class NaiveGpt2 {
 public:
  using Vec = std::vector<double>;

  explicit NaiveGpt2(const std::filesystem::path& folder)
      : config_(nlohmann::json::parse(read_file(folder / "config.json"))),
        file_(folder / "model.safetensors") {
    for (const auto& tensor : file_.tensors()) {
      std::string name = tensor.name;
      if (name.starts_with("transformer.")) name = name.substr(12);
      if (name.ends_with(".attn.bias") || name.ends_with("masked_bias")) continue;
      const auto values = read_f32(tensor);
      weights_[name] = Vec(values.begin(), values.end());
    }
    d_ = config_["n_embd"];
    layers_ = config_["n_layer"];
    heads_ = config_["n_head"];
    vocab_ = config_["vocab_size"];
    eps_ = config_.value("layer_norm_epsilon", 1e-5);
    by_layer_ = config_.value("scale_attn_by_inverse_layer_idx", false);
    if (!weights_.contains("wte.weight")) weights_["wte.weight"] = weights_.at("lm_head.weight");
  }

  Mutation mutation = Mutation::none;

  struct Trace {
    std::vector<std::vector<Vec>> attn_out, resid_mid, mlp_in, mlp_out, resid_post;  // [L][T][D]
    std::vector<Vec> embedding;                                                      // [T][D]
    Vec nll;                                                                         // [T - 1]
  };

  // One segment: ids[i] at position i.
  Trace run(std::span<const std::uint32_t> ids) const {
    const std::size_t length = ids.size();
    Trace trace;
    std::vector<Vec> x(length, Vec(d_));
    const Vec &wte = at("wte.weight"), &wpe = at("wpe.weight");
    for (std::size_t t = 0; t < length; ++t) {
      const std::size_t position = mutation == Mutation::skip_position ? t + 1 : t;
      for (std::size_t i = 0; i < d_; ++i) x[t][i] = wte[ids[t] * d_ + i] + wpe[position * d_ + i];
    }
    trace.embedding = x;
    for (std::size_t layer = 0; layer < layers_; ++layer) {
      const std::string h = "h." + std::to_string(layer) + ".";
      const auto attn = attention(x, h, layer);
      add(x, attn);
      trace.attn_out.push_back(attn);
      trace.resid_mid.push_back(x);
      std::vector<Vec> mlp;
      std::vector<Vec>& mlp_in = trace.mlp_in.emplace_back();
      for (const auto& row : x) {
        mlp_in.push_back(norm(row, h + "ln_2"));
        auto inner = conv1d(mlp_in.back(), h + "mlp.c_fc");
        for (double& value : inner) value = gelu(value);
        mlp.push_back(conv1d(inner, h + "mlp.c_proj"));
      }
      add(x, mlp);
      trace.mlp_out.push_back(mlp);
      trace.resid_post.push_back(x);
    }
    for (std::size_t t = 0; t + 1 < length; ++t)
      trace.nll.push_back(nll(norm(x[t], "ln_f"), ids[t + 1]));
    return trace;
  }

  std::size_t d_model() const { return d_; }
  std::size_t layers() const { return layers_; }
  std::size_t vocab() const { return vocab_; }

 private:
  const Vec& at(const std::string& name) const { return weights_.at(name); }

  static void add(std::vector<Vec>& x, const std::vector<Vec>& y) {
    for (std::size_t t = 0; t < x.size(); ++t)
      for (std::size_t i = 0; i < x[t].size(); ++i) x[t][i] += y[t][i];
  }

  Vec norm(const Vec& x, const std::string& name) const {
    double mean = 0, variance = 0;
    for (const double value : x) mean += value / static_cast<double>(x.size());
    for (const double value : x)
      variance += (value - mean) * (value - mean) / static_cast<double>(x.size());
    const double eps = mutation == Mutation::eps ? eps_ * 2 : eps_;
    Vec y(x.size());
    const Vec &weight = at(name + ".weight"), &bias = at(name + ".bias");
    for (std::size_t i = 0; i < x.size(); ++i)
      y[i] = (x[i] - mean) / std::sqrt(variance + eps) * weight[i] + bias[i];
    return y;
  }

  Vec conv1d(const Vec& x, const std::string& name) const {
    const Vec& w = at(name + ".weight");
    Vec y = at(name + ".bias");
    const bool wrong_way = mutation == Mutation::not_transposed && x.size() == y.size();
    for (std::size_t i = 0; i < x.size(); ++i)
      for (std::size_t o = 0; o < y.size(); ++o)
        y[o] += x[i] * (wrong_way ? w[o * x.size() + i] : w[i * y.size() + o]);
    return y;
  }

  double gelu(double x) const {
    if (mutation == Mutation::erf_gelu) return 0.5 * x * (1 + std::erf(x / std::numbers::sqrt2));
    return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
  }

  std::vector<Vec> attention(const std::vector<Vec>& x, const std::string& h,
                             std::size_t layer) const {
    std::vector<Vec> qkv, out;
    for (const auto& row : x) qkv.push_back(conv1d(norm(row, h + "ln_1"), h + "attn.c_attn"));
    const std::size_t width = d_ / heads_;
    double scale = mutation == Mutation::no_scale ? 1 : 1 / std::sqrt(static_cast<double>(width));
    if (by_layer_) scale /= static_cast<double>(layer + 1);
    for (std::size_t t = 0; t < x.size(); ++t) {
      Vec mixed(d_);
      for (std::size_t head = 0; head < heads_; ++head) {
        const std::size_t first = mutation == Mutation::one_key_short && t >= 8 ? 1 : 0,
                          q = head * width;
        Vec p(t + 1);
        double largest = -1e300, sum = 0;
        for (std::size_t j = first; j <= t; ++j) {
          for (std::size_t i = 0; i < width; ++i)
            p[j] += qkv[t][q + i] * qkv[j][d_ + q + i] * scale;
          largest = std::max(largest, p[j]);
        }
        for (std::size_t j = first; j <= t; ++j) sum += p[j] = std::exp(p[j] - largest);
        for (std::size_t j = first; j <= t; ++j)
          for (std::size_t i = 0; i < width; ++i)
            mixed[q + i] += p[j] / sum * qkv[j][2 * d_ + q + i];
      }
      out.push_back(conv1d(mixed, h + "attn.c_proj"));
    }
    return out;
  }

  double nll(const Vec& x, std::uint32_t target) const {
    Vec logits(vocab_);
    const Vec& wte = at("wte.weight");
    double largest = -1e300, sum = 0;
    for (std::size_t v = 0; v < vocab_; ++v) {
      for (std::size_t i = 0; i < d_; ++i) logits[v] += x[i] * wte[v * d_ + i];
      largest = std::max(largest, logits[v]);
    }
    for (const double logit : logits) sum += std::exp(logit - largest);
    return std::log(sum) + largest - logits[target];
  }

  nlohmann::json config_;
  SafetensorsFile file_;
  std::map<std::string, Vec> weights_;
  std::size_t d_ = 0, layers_ = 0, heads_ = 0, vocab_ = 0;
  double eps_ = 0;
  bool by_layer_ = false;
};

}  // namespace refract::test
