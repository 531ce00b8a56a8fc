// Forward passes. The demo's model, to the demo's hook and through all layers: 16 contexts of 256
// tokens. And four shapes that people study with random weights, all layers, 8 contexts of 512
// tokens, without logits; peer: a script that times transformers' models of these shapes.
#include <nlohmann/json.hpp>

#include "bench/support.hpp"
#include "refract/base/file.hpp"
#include "refract/lm/language_model.hpp"
#include "refract/store/safetensors.hpp"

namespace refract {
namespace {

struct NoTap final : Tap {
  void at(HookPoint, TensorView<float>, Stream&) override {}
};

void forward(benchmark::State& state, const LanguageModel& model, int last_layer,
             std::uint32_t contexts, std::uint32_t length, std::uint32_t vocabulary) {
  std::vector<std::uint32_t> ids, positions, starts;
  for (std::uint32_t c = 0; c < contexts; ++c) {
    starts.push_back(c * length);
    for (std::uint32_t t = 0; t < length; ++t) {
      ids.push_back((c * 131 + t * 17) % vocabulary);
      positions.push_back(t);
    }
  }
  starts.push_back(contexts * length);
  NoTap tap;
  Stream stream;
  for (auto _ : state) model.forward({ids, positions, starts}, last_layer, tap, stream);
  // Of a layer: its weights, and scores and mixture over (T + 1) / 2 tokens on average.
  const ModelInfo& info = model.info();
  const double rows = contexts * length,
               layer = 2 * static_cast<double>(info.block_parameters) +
                       4 * static_cast<double>(info.attention_width) * (length + 1) / 2;
  bench::report(state, rows, rows * (last_layer + 1) * layer, 0);
}

void gpt2_forward(benchmark::State& state) {
  const auto model = load_language_model(REFRACT_SOURCE_DIR "/configs/demo/model");
  forward(state, *model, static_cast<int>(state.range(0)), 16, 256, 8000);
}
BENCHMARK(gpt2_forward)->Arg(2)->Arg(5)->Unit(benchmark::kMillisecond)->UseRealTime();

// ---- shapes ------------------------------------------------------------------------------------

constexpr std::size_t kVocabulary = 5000;  // a forward pass without logits reads no more

struct Product {
  std::string name;
  std::size_t out, in;
  bool has_bias;
};
struct ShapeOfModel {
  std::string name;
  nlohmann::json config;
  std::string block;               // "model.layers." and the like
  std::vector<Product> products;   // of a block
  std::vector<std::string> norms;  // of a block
  bool norms_have_bias = false;
  std::string final_norm;
  std::vector<std::pair<std::string, std::size_t>> tables;  // [rows, D]
  std::size_t head_norm_width = 0;                          // of q_norm and k_norm
  bool is_conv1d = false;                                   // products are stored [in, out]
};

ShapeOfModel gpt2_small() {
  const std::size_t d = 768;
  return {.name = "gpt2-small",
          .config = {{"model_type", "gpt2"}},
          .block = "h.",
          .products = {{"attn.c_attn", 3 * d, d, true},
                       {"attn.c_proj", d, d, true},
                       {"mlp.c_fc", 4 * d, d, true},
                       {"mlp.c_proj", d, 4 * d, true}},
          .norms = {"ln_1", "ln_2"},
          .norms_have_bias = true,
          .final_norm = "ln_f",
          .tables = {{"wte.weight", kVocabulary}, {"wpe.weight", 1024}},
          .is_conv1d = true};
}

ShapeOfModel pythia_70m() {
  const std::size_t d = 512;
  return {.name = "pythia-70m",
          .config = {{"model_type", "gpt_neox"},
                     {"hidden_size", d},
                     {"num_hidden_layers", 6},
                     {"num_attention_heads", 8},
                     {"intermediate_size", 4 * d}},
          .block = "gpt_neox.layers.",
          .products = {{"attention.query_key_value", 3 * d, d, true},
                       {"attention.dense", d, d, true},
                       {"mlp.dense_h_to_4h", 4 * d, d, true},
                       {"mlp.dense_4h_to_h", d, 4 * d, true}},
          .norms = {"input_layernorm", "post_attention_layernorm"},
          .norms_have_bias = true,
          .final_norm = "gpt_neox.final_layer_norm",
          .tables = {{"gpt_neox.embed_in.weight", kVocabulary}, {"embed_out.weight", kVocabulary}}};
}

ShapeOfModel gated(std::string name, nlohmann::json config, std::size_t d, std::size_t q,
                   std::size_t kv, std::size_t inner) {
  return {.name = std::move(name),
          .config = std::move(config),
          .block = "model.layers.",
          .products = {{"self_attn.q_proj", q, d, false},
                       {"self_attn.k_proj", kv, d, false},
                       {"self_attn.v_proj", kv, d, false},
                       {"self_attn.o_proj", d, q, false},
                       {"mlp.gate_proj", inner, d, false},
                       {"mlp.up_proj", inner, d, false},
                       {"mlp.down_proj", d, inner, false}},
          .norms = {"input_layernorm", "post_attention_layernorm"},
          .final_norm = "model.norm",
          .tables = {{"model.embed_tokens.weight", kVocabulary}}};
}

ShapeOfModel smollm2_135m() {
  return gated("smollm2-135m",
               {{"model_type", "llama"},
                {"hidden_size", 576},
                {"intermediate_size", 1536},
                {"num_hidden_layers", 30},
                {"num_attention_heads", 9},
                {"num_key_value_heads", 3},
                {"max_position_embeddings", 8192},
                {"tie_word_embeddings", true}},
               576, 576, 192, 1536);
}

ShapeOfModel gemma3_270m() {
  ShapeOfModel shape = gated("gemma3-270m",
                             {{"model_type", "gemma3_text"},
                              {"hidden_size", 640},
                              {"intermediate_size", 2048},
                              {"num_hidden_layers", 18},
                              {"num_attention_heads", 4},
                              {"num_key_value_heads", 1},
                              {"head_dim", 256},
                              {"max_position_embeddings", 2048},
                              {"sliding_window", 512}},
                             640, 1024, 256, 2048);
  shape.norms.insert(shape.norms.end(),
                     {"pre_feedforward_layernorm", "post_feedforward_layernorm"});
  shape.head_norm_width = 256;
  return shape;
}

// The folder's tensors, filled with small numbers.
class RandomTensors {
 public:
  void add(const std::string& name, std::vector<std::size_t> axes) {
    std::size_t size = 1;
    for (const std::size_t axis : axes) size *= axis;
    auto& values = values_.emplace_back(size);
    std::uint32_t bits = 1;
    for (float& value : values) {
      bits = bits * 1664525u + 1013904223u;
      value = (static_cast<float>(bits >> 8) / (1u << 24) - 0.5F) * 0.1F;
    }
    tensors_.push_back(
        stored_tensor(name, DType::f32, std::move(axes), std::span<const float>(values)));
  }
  void write(const fs::path& file) const { write_safetensors(file, tensors_); }

 private:
  std::vector<std::vector<float>> values_;
  std::vector<StoredTensor> tensors_;
};

std::unique_ptr<LanguageModel> model_of(const ShapeOfModel& shape) {
  const fs::path folder = fs::temp_directory_path() / ("refract_bench_" + shape.name);
  make_folder(folder);
  nlohmann::json config = shape.config;
  config["vocab_size"] = kVocabulary;
  write_file(folder / "config.json", config.dump());
  const ModelInfo info = read_model_info(folder);
  RandomTensors tensors;
  for (const auto& [name, rows] : shape.tables) tensors.add(name, {rows, info.d_model});
  const auto norm = [&](const std::string& name, std::size_t width) {
    tensors.add(name + ".weight", {width});
    if (shape.norms_have_bias) tensors.add(name + ".bias", {width});
  };
  for (std::size_t layer = 0; layer < info.layers; ++layer) {
    const std::string block = shape.block + std::to_string(layer) + ".";
    for (const std::string& name : shape.norms) norm(block + name, info.d_model);
    if (shape.head_norm_width > 0)
      for (const char* name : {"self_attn.q_norm", "self_attn.k_norm"})
        norm(block + name, shape.head_norm_width);
    for (const auto& [name, out, in, has_bias] : shape.products) {
      tensors.add(block + name + ".weight",
                  shape.is_conv1d ? std::vector{in, out} : std::vector{out, in});
      if (has_bias) tensors.add(block + name + ".bias", {out});
    }
  }
  norm(shape.final_norm, info.d_model);
  tensors.write(folder / "model.safetensors");
  auto model = load_language_model(folder);
  fs::remove_all(folder);
  return model;
}

void shape_forward(benchmark::State& state, ShapeOfModel (*shape)()) {
  const auto model = model_of(shape());
  forward(state, *model, static_cast<int>(model->info().layers) - 1, 8, 512, kVocabulary);
}
BENCHMARK_CAPTURE(shape_forward, gpt2_small, gpt2_small)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK_CAPTURE(shape_forward, pythia_70m, pythia_70m)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK_CAPTURE(shape_forward, smollm2_135m, smollm2_135m)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK_CAPTURE(shape_forward, gemma3_270m, gemma3_270m)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

}  // namespace
}  // namespace refract
