#include "refract/store/artifact.hpp"

#include "refract/base/error.hpp"

namespace refract {
namespace {

[[noreturn]] void throw_differs(std::string_view field, std::string_view found,
                                std::string_view expected, const std::filesystem::path& path) {
  throw DataError(
      "{} does not fit: {} is {}, expected {}. It was made for other settings or inputs; give "
      "another run or data folder, or delete it and the stage that wrote it makes it again",
      path.string(), field, found, expected);
}

}  // namespace

void expect_artifact(const ArtifactHeader& found, const ArtifactExpectation& expected,
                     const std::filesystem::path& path) {
  if (found.schema != expected.schema) throw_differs("schema", found.schema, expected.schema, path);
  if (found.version != expected.version)
    throw_differs("schema version", std::to_string(found.version), std::to_string(expected.version),
                  path);
  for (const auto& [name, digest] : expected.parents) {
    const auto parent = found.parents.find(name);
    if (parent == found.parents.end()) throw_differs("parent " + name, "absent", digest, path);
    if (parent->second != digest) throw_differs("parent " + name, parent->second, digest, path);
  }
}

}  // namespace refract
