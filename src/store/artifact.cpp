#include "refract/store/artifact.hpp"

#include "refract/base/error.hpp"

namespace refract {
namespace {

template <typename Kind>
[[noreturn]] void throw_differs(std::string_view field, std::string_view found,
                                std::string_view expected, const std::filesystem::path& path) {
  throw Kind(
      "{} does not fit: {} is {}, expected {}. It was made for other settings or inputs; give this "
      "run another folder (--set run=...)",
      path.string(), field, found, expected);
}

}  // namespace

void expect_artifact(const ArtifactHeader& found, const ArtifactExpectation& expected,
                     const std::filesystem::path& path) {
  if (found.schema != expected.schema)
    throw_differs<OtherSchema>("schema", found.schema, expected.schema, path);
  if (found.version != expected.version)
    throw OtherSchema(
        "{} was written by refract {} in schema version {}; this refract reads version {}. Give "
        "another folder, or use the refract that wrote it",
        path.string(),
        found.software_version.empty() ? "of another version" : found.software_version,
        found.version, expected.version);
  for (const auto& [name, digest] : expected.parents) {
    const auto parent = found.parents.find(name);
    if (parent == found.parents.end())
      throw_differs<DataError>("parent " + name, "absent", digest, path);
    if (parent->second != digest)
      throw_differs<DataError>("parent " + name, parent->second, digest, path);
  }
}

}  // namespace refract
