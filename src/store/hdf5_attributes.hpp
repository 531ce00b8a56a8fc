#pragma once
// Attributes are text (fixed length, UTF-8), u64 or f64 scalars; the artifact header is a set of
// them.
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>

#include "refract/store/artifact.hpp"
#include "store/hdf5_handle.hpp"

namespace refract {

using AttributeValue = std::variant<std::string, std::uint64_t, double>;
using Attributes = std::map<std::string, AttributeValue>;

// Creates it, or overwrites one of the same type and length in place.
void write_attribute(hid_t object, const std::string& name, const AttributeValue& value,
                     const fs::path& path);
[[nodiscard]] Attributes read_attributes(hid_t object,
                                         const fs::path& path);  // other types are left out
[[nodiscard]] Attributes read_dataset_attributes(hid_t file, const std::string& name,
                                                 const fs::path& path);

[[nodiscard]] const std::string& text_of(const Attributes&, const std::string& name,
                                         const fs::path& path);
[[nodiscard]] std::uint64_t count_of(const Attributes&, const std::string& name,
                                     const fs::path& path);

void write_header(hid_t file, const ArtifactHeader& header, const fs::path& path);
[[nodiscard]] ArtifactHeader header_of(const Attributes& attributes, const fs::path& path);
[[nodiscard]] bool is_header_attribute(
    std::string_view name);  // part of the header, or the content digest
[[nodiscard]] std::string print(const AttributeValue& value);

inline constexpr const char* kContentDigest = "content_digest";
inline constexpr std::string_view kParentPrefix = "parent_";

}  // namespace refract
