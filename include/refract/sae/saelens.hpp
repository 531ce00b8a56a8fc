#pragma once
// The folder SAELens (v6) loads: cfg.json and sae_weights.safetensors.
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "refract/base/dtype.hpp"
#include "refract/base/written_file.hpp"
#include "refract/sae/export.hpp"
#include "refract/sae/state.hpp"
#include "refract/sae/trainer_state.hpp"
#include "refract/store/safetensors.hpp"

namespace refract {

// Writes the two files into an existing folder, unsynced (base/written_file.hpp; the caller settles
// them and renames the folder as a whole), folded, with at most 64 MiB of a tensor in memory.
// dtype: f32 or bf16, also the dtype SAELens computes in. `metadata` keys -> JSON text go into
// cfg.json's "metadata", beside sae_lens_version; values that SAELens' tools use: model_name,
// hook_name, context_size, prepend_bos, dataset_path. Bytes are a function of the arguments.
[[nodiscard]] std::vector<WrittenFile> write_saelens_folder(
    const std::filesystem::path& folder, const SaeExport& exported, DType dtype,
    const std::map<std::string, std::string>& metadata);

// The same by several owners of one dictionary (trainer_state.hpp); `part` holds a tile of it, on
// the stream's device.
[[nodiscard]] SafetensorsWriter open_saelens_weights(const std::filesystem::path& folder,
                                                     const SaeExport& part, DType dtype,
                                                     FileWriter::Begin begin);
void write_owned(SafetensorsWriter& file, const SaeExport& part, DType dtype,
                 const OwnedFeatures& own, Stream& stream);
[[nodiscard]] WrittenFile write_saelens_config(const std::filesystem::path& folder,
                                               const SaeExport& exported, DType dtype,
                                               const std::map<std::string, std::string>& metadata);

// What such a folder says of directions, in units of the raw input; fp32, whatever it was stored
// in.
struct SaelensWeights {
  Tensor<float> W_enc, W_dec;  // [F, D_in], [F, D_out]
  Tensor<float> b_dec;         // [D_out]
};
// DataError naming the file and the tensor: missing, truncated, of another dtype, or of shapes that
// do not fit together.
[[nodiscard]] SaelensWeights read_saelens_weights(const std::filesystem::path& folder);
// Those of a whole export on the host that is not written, folded.
[[nodiscard]] SaelensWeights folded_weights(const SaeExport& exported);

}  // namespace refract
