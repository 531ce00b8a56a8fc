#pragma once
// Small GPT-2 folders with seeded weights. The scale is small enough for the epsilon of the norms
// to show.
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "refract/base/file.hpp"
#include "refract/base/random.hpp"
#include "refract/store/safetensors.hpp"

namespace refract::test {

struct TinyGpt2 {
  std::size_t d = 24, layers = 3, heads = 3, vocab = 50, positions = 160, inner = 40;
  std::string prefix;  // "" or "transformer."
  nlohmann::json config_changes = nlohmann::json::object();
  // Edits the tensors before they are written: rename, drop, reshape, add.
  struct Values {
    std::vector<std::size_t> shape;
    std::vector<float> data;
  };
  std::function<void(std::map<std::string, Values>&)> edit = [](auto&) {};
  std::size_t shards = 1;

  void write(const std::filesystem::path& folder) const {
    make_folder(folder);
    nlohmann::json config{{"model_type", "gpt2"}, {"n_embd", d},
                          {"n_layer", layers},    {"n_head", heads},
                          {"vocab_size", vocab},  {"n_positions", positions},
                          {"n_inner", inner},     {"activation_function", "gelu_new"},
                          {"bos_token_id", 49},   {"eos_token_id", 49}};
    config.update(config_changes);
    write_file(folder / "config.json", config.dump());

    auto tensors = make_tensors();
    edit(tensors);
    std::vector<std::vector<StoredTensor>> files(shards);
    nlohmann::json map = nlohmann::json::object();
    std::size_t next = 0;
    for (const auto& [name, values] : tensors) {
      const std::size_t file = next++ % shards;
      files[file].push_back(
          stored_tensor<float>(prefix + name, DType::f32, values.shape, values.data));
      map[prefix + name] = shard_name(file);
    }
    for (std::size_t i = 0; i < shards; ++i) write_safetensors(folder / shard_name(i), files[i]);
    if (shards > 1)
      write_file(folder / "model.safetensors.index.json",
                 nlohmann::json{{"weight_map", map}}.dump());
  }

 private:
  std::string shard_name(std::size_t i) const {
    return shards == 1 ? "model.safetensors" : "model-" + std::to_string(i) + ".safetensors";
  }

  std::map<std::string, Values> make_tensors() const {
    std::map<std::string, Values> tensors;
    std::uint64_t seed = 0;
    const auto put = [&](const std::string& name, std::vector<std::size_t> shape, double scale,
                         double mean = 0) {
      std::size_t size = 1;
      for (const std::size_t axis : shape) size *= axis;
      Values values{std::move(shape), std::vector<float>(size)};
      const CounterRng rng(Purpose::test, {++seed});
      for (std::size_t i = 0; i < size; ++i)
        values.data[i] = static_cast<float>(mean + scale * rng.normal(i));
      tensors[name] = std::move(values);
    };
    put("wte.weight", {vocab, d}, 0.1);
    put("wpe.weight", {positions, d}, 0.05);
    for (std::size_t layer = 0; layer < layers; ++layer) {
      const std::string h = "h." + std::to_string(layer) + ".";
      for (const char* norm : {"ln_1", "ln_2"}) {
        put(h + norm + ".weight", {d}, 0.1, 1);
        put(h + norm + ".bias", {d}, 0.1);
      }
      put(h + "attn.c_attn.weight", {d, 3 * d}, 0.2);
      put(h + "attn.c_attn.bias", {3 * d}, 0.1);
      put(h + "attn.c_proj.weight", {d, d}, 0.2);
      put(h + "attn.c_proj.bias", {d}, 0.05);
      put(h + "mlp.c_fc.weight", {d, inner}, 0.2);
      put(h + "mlp.c_fc.bias", {inner}, 0.1);
      put(h + "mlp.c_proj.weight", {inner, d}, 0.2);
      put(h + "mlp.c_proj.bias", {d}, 0.05);
    }
    put("ln_f.weight", {d}, 0.1, 1);
    put("ln_f.bias", {d}, 0.1);
    return tensors;
  }
};

}  // namespace refract::test
