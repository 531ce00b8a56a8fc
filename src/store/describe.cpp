#include <iterator>

#include "refract/base/error.hpp"
#include "refract/base/file.hpp"
#include "refract/store/artifact.hpp"
#include "refract/store/begin.hpp"
#include "refract/store/chunk.hpp"
#include "refract/store/safetensors.hpp"
#include "refract/store/table_file.hpp"
#include "store/hdf5_attributes.hpp"
#include "store/hdf5_datasets.hpp"

namespace refract {
namespace {

std::string describe_hdf5(const fs::path& path) {
  const H5Handle file = h5_open_for_reading(path);
  const Attributes attributes = read_attributes(file.id(), path);
  const ArtifactHeader header = header_of(attributes, path);
  std::string text;
  const auto out = std::back_inserter(text);
  fmt::format_to(out, "{}\n  schema   {} version {}\n  stage    {} (refract {})\n", path.string(),
                 header.schema, header.version, header.stage, header.software_version);
  for (const auto& [name, digest] : header.parents)
    fmt::format_to(out, "  parent   {} {}\n", name, digest);
  if (attributes.contains(kContentDigest))
    fmt::format_to(out, "  content  {}\n", text_of(attributes, kContentDigest, path));
  for (const auto& [name, value] : attributes)
    if (!is_header_attribute(name)) fmt::format_to(out, "  {:<24} {}\n", name, print(value));
  // The walk through a file is only for one that is whole (TableFile looks before it walks).
  if (header.schema != "activation-chunk")
    (void)TableFile(path, {.schema = header.schema, .version = header.version, .parents = {}});
  text += "  datasets\n";
  for (const auto& [info, offset] : list_datasets(file.id(), path))
    fmt::format_to(out, "    /{:<46} {:<5} [{}]  axes {}\n", info.name, name(info.dtype),
                   fmt::join(info.shape, ", "), info.axes);
  return text;
}

std::string describe_safetensors(const fs::path& path) {
  const SafetensorsFile file(path);
  std::string text;
  const auto out = std::back_inserter(text);
  fmt::format_to(out, "{}\n  safetensors, {} tensors\n", path.string(), file.tensors().size());
  for (const auto& [key, value] : file.metadata()) fmt::format_to(out, "  {:<24} {}\n", key, value);
  for (const StoredTensor& tensor : file.tensors())
    fmt::format_to(out, "    {:<46} {:<5} [{}]\n", tensor.name, tensor.dtype,
                   fmt::join(tensor.shape, ", "));
  return text;
}

}  // namespace

void verify_artifact(const fs::path& path) {
  ArtifactHeader header;
  {
    begin_hdf5();
    const H5Handle file = h5_open_for_reading(path);
    header = header_of(read_attributes(file.id(), path), path);
  }
  if (header.schema == "activation-chunk")
    ChunkReader(path).verify_blocks();
  else
    TableFile(path, {.schema = header.schema, .version = kSchemaVersion, .parents = {}})
        .verify_content();
}

std::string describe_artifact(const fs::path& path) {
  if (path.extension() == ".safetensors") return describe_safetensors(path);
  begin_hdf5();
  if (fs::is_regular_file(path) && H5Fis_hdf5(path.c_str()) > 0) return describe_hdf5(path);
  if (!fs::exists(path))
    throw DataError("{} does not exist: give the path of an artifact", path.string());
  throw DataError(
      "{} is neither an HDF5 file nor a .safetensors file: describe takes a token shard, context "
      "table, chunk, calibration, features or weights file",
      path.string());
}

}  // namespace refract
