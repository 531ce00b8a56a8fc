#pragma once
// What the rows of the layout table are made of: each function in layout/<name>.cpp.
#include "refract/sae/layout.hpp"
#include "refract/store/safetensors.hpp"

namespace refract {

namespace saelens_layout {
std::string folder(const ExportedSae& sae);
std::vector<WrittenFile> write(const std::filesystem::path& folder, const ExportedSae& sae,
                               DType dtype);
}  // namespace saelens_layout

namespace sparsify_layout {
std::string folder(const ExportedSae& sae);
std::vector<WrittenFile> write(const std::filesystem::path& folder, const ExportedSae& sae,
                               DType dtype);
}  // namespace sparsify_layout

namespace dictionary_learning_layout {
std::string folder(const ExportedSae& sae);
std::vector<WrittenFile> write(const std::filesystem::path& folder, const ExportedSae& sae,
                               DType dtype);
}  // namespace dictionary_learning_layout

[[nodiscard]] Tensor<float> transposed(const Tensor<float>& values);
[[nodiscard]] StoredTensor f32_tensor(std::string name, const Tensor<float>& values);
// fp32 tensors, each written in `dtype`: fp32 or bf16.
[[nodiscard]] WrittenFile write_tensors(const std::filesystem::path& path,
                                        std::span<const StoredTensor> tensors, DType dtype,
                                        const std::map<std::string, std::string>& metadata = {});

}  // namespace refract
