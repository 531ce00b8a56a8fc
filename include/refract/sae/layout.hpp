#pragma once
// Layouts in which other programs keep SAEs, made from a SAELens folder: that folder alone, so that
// what it holds decides, not how it was trained.
#include <cstddef>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "refract/base/dtype.hpp"
#include "refract/base/written_file.hpp"
#include "refract/tensor/tensor.hpp"

namespace refract {

// A SAELens folder as read: what other layouts have a place for.
struct ExportedSae {
  std::filesystem::path weights;  // for messages
  // topk | batchtopk | relu | jumprelu | gated | matryoshka, else SAELens' architecture
  std::string kind;
  std::string cfg;                         // cfg.json, whole
  std::size_t d_in = 0, d_sae = 0, k = 0;  // k 0: it has none
  std::size_t context = 0;
  bool centred = true;              // the encoder reads x - b_dec
  std::vector<std::size_t> widths;  // matryoshka: features of each prefix, the last all of them
  std::string model_name, hook_name, hf_hook_name;
  // fp32, by SAELens' names and in its orientation: W_enc [D_in, F], W_dec [F, D_out]
  std::map<std::string, Tensor<float>, std::less<>> tensors;
  [[nodiscard]] const Tensor<float>& at(std::string_view tensor) const;  // DataError: it has none
};
// DataError naming the file and the field or tensor: missing, damaged, of shapes that do not fit.
[[nodiscard]] ExportedSae read_exported_sae(const std::filesystem::path& folder);

struct SaeLayout {
  std::string_view word;
  std::vector<std::string_view> kinds;  // that it can hold; empty: all
  bool has_bf16 = false;                // beside fp32
  // The SAE's folder below the one that the user names; empty: that one.
  std::string (*folder)(const ExportedSae& sae);
  // Its files into an existing folder, unsynced.
  std::vector<WrittenFile> (*write)(const std::filesystem::path& folder, const ExportedSae& sae,
                                    DType dtype);
};

[[nodiscard]] std::span<const SaeLayout> sae_layouts();
// ConfigError: an unknown word, listing the known ones; a kind of SAE or a dtype that the layout
// does not have, naming those that do.
[[nodiscard]] const SaeLayout& layout_for(std::string_view word, const ExportedSae& sae,
                                          DType dtype);

}  // namespace refract
