// dictionary_learning: trainer_0/{ae.pt, config.json}, a state dict for each of its classes. Linear
// layers hold [out, in]. Its loaders cast to fp32, so that is what there is.
#include <fmt/format.h>

#include <charconv>
#include <cstdint>
#include <deque>
#include <nlohmann/json.hpp>

#include "refract/base/error.hpp"
#include "refract/store/torch_file.hpp"
#include "sae/layout_table.hpp"

namespace refract::dictionary_learning_layout {
namespace {

// Tensors with their values: those of the SAE are borrowed.
class StateDict {
 public:
  void borrow(std::string name, const Tensor<float>& values) {
    tensors_.push_back(f32_tensor(std::move(name), values));
  }
  void keep(std::string name, Tensor<float> values) {
    borrow(std::move(name), floats_.emplace_back(std::move(values)));
  }
  void scalar(std::string name, float value) {
    Tensor<float>& kept = floats_.emplace_back(Shape{1});
    kept.data()[0] = value;
    tensors_.push_back(stored_tensor<float>(std::move(name), DType::f32, {}, kept.span()));
  }
  // An int or a long of torch.
  template <typename Integer>
  void integers(std::string name, std::vector<std::size_t> shape, std::vector<Integer> values) {
    std::vector<std::byte>& kept = bytes_.emplace_back();
    const auto bytes = std::as_bytes(std::span(values));
    kept.assign(bytes.begin(), bytes.end());
    tensors_.push_back(
        {std::move(name), sizeof(Integer) == 4 ? "I32" : "I64", std::move(shape), kept});
  }
  void k(std::size_t value) { integers<std::int32_t>("k", {}, {static_cast<std::int32_t>(value)}); }
  [[nodiscard]] std::span<const StoredTensor> tensors() const { return tensors_; }

 private:
  std::deque<Tensor<float>> floats_;
  std::deque<std::vector<std::byte>> bytes_;
  std::vector<StoredTensor> tensors_;
};

void add_linear(StateDict& state, const ExportedSae& sae) {
  state.keep("encoder.weight", transposed(sae.at("W_enc")));
  state.keep("decoder.weight", transposed(sae.at("W_dec")));
}

// One for all features, and below it nothing fires.
float common_threshold(const ExportedSae& sae) {
  const std::span<const float> all = sae.at("threshold").span();
  for (const float value : all)
    if (value != all.front() || value < 0)
      throw DataError("'{}': threshold is not one number, at least 0, for all features",
                      sae.weights.string());
  return all.front();
}

void add_relu(StateDict& state, const ExportedSae& sae) {
  add_linear(state, sae);
  state.borrow("encoder.bias", sae.at("b_enc"));
  state.borrow("bias", sae.at("b_dec"));
}

void add_topk(StateDict& state, const ExportedSae& sae) {
  add_linear(state, sae);
  state.borrow("encoder.bias", sae.at("b_enc"));
  state.borrow("b_dec", sae.at("b_dec"));
  state.k(sae.k);
  state.scalar("threshold", -1);  // none: the k largest
}

void add_batchtopk(StateDict& state, const ExportedSae& sae) {
  add_linear(state, sae);
  state.borrow("encoder.bias", sae.at("b_enc"));
  state.borrow("b_dec", sae.at("b_dec"));
  state.k(sae.k);
  state.scalar("threshold", common_threshold(sae));
}

void add_matrices(StateDict& state, const ExportedSae& sae) {
  for (const char* name : {"W_enc", "W_dec", "b_dec"}) state.borrow(name, sae.at(name));
}

void add_matryoshka(StateDict& state, const ExportedSae& sae) {
  std::vector<std::int64_t> groups;
  std::size_t before = 0;
  for (const std::size_t width : sae.widths) {
    if (width <= before) break;
    groups.push_back(static_cast<std::int64_t>(width - before));
    before = width;
  }
  if (before != sae.d_sae || groups.size() != sae.widths.size())
    throw DataError("'{}': cfg.json beside it does not say the prefixes up to its {} features",
                    sae.weights.string(), sae.d_sae);
  add_matrices(state, sae);
  state.borrow("b_enc", sae.at("b_enc"));
  state.k(sae.k);
  state.scalar("threshold", common_threshold(sae));
  state.integers("group_sizes", {groups.size()}, groups);
}

// Its encoder reads x itself: (x - b_dec) W_enc + b_enc = x W_enc + (b_enc - b_dec W_enc).
void add_jumprelu(StateDict& state, const ExportedSae& sae) {
  const Tensor<float>&W_enc = sae.at("W_enc"), &b_enc = sae.at("b_enc"), &b_dec = sae.at("b_dec");
  std::vector<double> sums(b_enc.span().begin(), b_enc.span().end());
  for (std::size_t d = 0; sae.centred && d < sae.d_in; ++d) {
    const std::span<const float> row = W_enc.row(d);
    for (std::size_t f = 0; f < sae.d_sae; ++f)
      sums[f] -= static_cast<double>(b_dec.data()[d]) * static_cast<double>(row[f]);
  }
  Tensor<float> folded(Shape{sae.d_sae});
  for (std::size_t f = 0; f < sae.d_sae; ++f) folded.data()[f] = static_cast<float>(sums[f]);
  add_matrices(state, sae);
  state.keep("b_enc", std::move(folded));
  state.borrow("threshold", sae.at("threshold"));
}

void add_gated(StateDict& state, const ExportedSae& sae) {
  add_linear(state, sae);
  state.borrow("decoder_bias", sae.at("b_dec"));
  state.borrow("gate_bias", sae.at("b_gate"));
  state.borrow("mag_bias", sae.at("b_mag"));
  state.borrow("r_mag", sae.at("r_mag"));
}

struct DictClass {
  std::string_view kind, dict_class, trainer_class;
  bool centred;  // its encoder reads x - b_dec
  void (*add)(StateDict& state, const ExportedSae& sae);
};
constexpr DictClass kClasses[] = {
    {"topk", "AutoEncoderTopK", "TopKTrainer", true, add_topk},
    {"batchtopk", "BatchTopKSAE", "BatchTopKTrainer", true, add_batchtopk},
    {"relu", "AutoEncoder", "StandardTrainer", true, add_relu},
    {"jumprelu", "JumpReluAutoEncoder", "JumpReluTrainer", false, add_jumprelu},
    {"gated", "GatedAutoEncoder", "GatedSAETrainer", true, add_gated},
    {"matryoshka", "MatryoshkaBatchTopKSAE", "MatryoshkaBatchTopKTrainer", true, add_matryoshka},
};

const DictClass& class_of(const ExportedSae& sae) {
  for (const DictClass& known : kClasses) {
    if (known.kind != sae.kind) continue;
    if (known.centred && !sae.centred)
      throw ConfigError(
          "dictionary_learning's {} subtracts b_dec from what it reads, and this SAE "
          "does not; what holds it: saelens",
          known.dict_class);
    return known;
  }
  REFRACT_ASSERT(false, "kind {}", sae.kind);
}

// "blocks.4.hook_resid_post": 4 and "resid_post".
struct Place {
  int layer = 0;
  std::string site;
};
Place place_of(const std::string& hook) {
  Place place;
  const std::size_t first = hook.find('.'), last = hook.rfind('.');
  if (first == std::string::npos) return {0, hook};
  (void)std::from_chars(hook.data() + first + 1, hook.data() + hook.size(), place.layer);
  place.site = hook.substr(last + 1);
  if (place.site.starts_with("hook_")) place.site.erase(0, 5);
  return place;
}

std::string config_text(const ExportedSae& sae, const DictClass& dict_class) {
  using Json = nlohmann::ordered_json;
  const Place place = place_of(sae.hook_name);
  Json trainer{{"trainer_class", dict_class.trainer_class},
               {"dict_class", dict_class.dict_class},
               {"activation_dim", sae.d_in},
               {"dict_size", sae.d_sae}};
  if (sae.k > 0) trainer["k"] = sae.k;
  trainer.update(Json{{"layer", place.layer},
                      {"lm_name", sae.model_name},
                      {"submodule_name", fmt::format("{}_layer_{}", place.site, place.layer)},
                      {"wandb_name", dict_class.dict_class},
                      {"device", "cpu"}});
  const Json config{
      {"trainer", trainer},
      {"buffer",
       {{"d_submodule", sae.d_in}, {"io", "out"}, {"ctx_len", sae.context}, {"device", "cpu"}}},
      {"metadata", Json::parse(sae.cfg).value("metadata", Json::object())}};
  return config.dump(1) + "\n";
}

}  // namespace

std::string folder(const ExportedSae&) { return "trainer_0"; }

std::vector<WrittenFile> write(const fs::path& folder, const ExportedSae& sae, DType) {
  const DictClass& dict_class = class_of(sae);
  StateDict state;
  dict_class.add(state, sae);
  return {write_torch_file(folder / "ae.pt", state.tensors()),
          write_unsynced(folder / "config.json", config_text(sae, dict_class))};
}

}  // namespace refract::dictionary_learning_layout
