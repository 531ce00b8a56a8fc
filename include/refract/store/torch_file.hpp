#pragma once
// What torch.save writes of a state dict, and torch.load reads, also with weights_only: a zip
// archive of a pickle (protocol 2) that names each tensor, and the bytes of each.
#include <filesystem>
#include <span>

#include "refract/base/written_file.hpp"
#include "refract/store/safetensors.hpp"

namespace refract {

// An OrderedDict of tensors, in this order. dtype: F32, BF16, I32 or I64. Unsynced, under `path`
// itself (written_file.hpp); bytes are a function of the arguments.
[[nodiscard]] WrittenFile write_torch_file(const std::filesystem::path& path,
                                           std::span<const StoredTensor> tensors);

}  // namespace refract
