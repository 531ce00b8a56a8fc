#pragma once
// What every HDF5 artifact says about itself, and the check a stage makes before it believes one.
#include <filesystem>
#include <map>
#include <string>
#include <string_view>

#include "refract/base/error.hpp"

namespace refract {

// Of every artifact: they were settled together, and change together. 1 was refract 0.1.0.
inline constexpr int kSchemaVersion = 2;

// Parent name -> content digest, e.g. {"tokenizer", "0f3c..."}; stored as attributes parent_<name>.
using Parents = std::map<std::string, std::string>;

struct ArtifactHeader {
  std::string schema;  // "token-shard", "activation-chunk", ...
  int version = kSchemaVersion;
  std::string stage;  // the stage that wrote it
  Parents parents;
  std::string software_version;  // filled in when written
};

// What a reader was made for. Only the parents named here are compared.
struct ArtifactExpectation {
  std::string schema;
  int version = kSchemaVersion;
  Parents parents;
};

// Whole, but of another schema or version than its reader's.
class OtherSchema : public DataError {
 public:
  using DataError::DataError;
};

// DataError naming the first field that differs, found and expected, and the file; OtherSchema when
// that is schema or version.
void expect_artifact(const ArtifactHeader& found, const ArtifactExpectation& expected,
                     const std::filesystem::path& path);

// Recomputes the content digest of an HDF5 artifact, and the block checksums of a chunk; reads
// every byte. Damaged, or another DataError, naming the file and the first that differs.
void verify_artifact(const std::filesystem::path& path);

// Text for people: schema, version, stage, parents, every dataset with shape, dtype and axes. Any
// HDF5 file of ours, or a safetensors file; DataError for anything else.
[[nodiscard]] std::string describe_artifact(const std::filesystem::path& path);

}  // namespace refract
