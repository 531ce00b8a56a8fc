#include "store/hdf5_attributes.hpp"

#include <algorithm>

#include "refract/base/build_info.hpp"
#include "refract/base/error.hpp"

namespace refract {
namespace {

H5Handle text_type(std::size_t bytes) {
  H5Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(type.id(), std::max<std::size_t>(
                             bytes, 1));  // HDF5 has no empty string type: one null stands for it
  H5Tset_strpad(type.id(), H5T_STR_NULLPAD);
  H5Tset_cset(type.id(), H5T_CSET_UTF8);
  return type;
}

struct Raw {
  H5Handle type;
  const void* data;
};

Raw raw(const AttributeValue& value) {
  if (const auto* text = std::get_if<std::string>(&value))
    return {text_type(text->size()), text->c_str()};
  if (const auto* count = std::get_if<std::uint64_t>(&value)) return {h5_type(DType::u64), count};
  return {h5_type(DType::f64), &std::get<double>(value)};
}

bool read_attribute(hid_t attribute, const fs::path& path, AttributeValue& value) {
  const H5Handle type(H5Aget_type(attribute), H5Tclose);
  const auto read = [&](void* to) {
    h5_check_read(H5Aread(attribute, type.id(), to), "reading an attribute", path);
    return true;
  };
  if (H5Tget_class(type.id()) == H5T_STRING && H5Tis_variable_str(type.id()) == 0) {
    std::string text(H5Tget_size(type.id()), '\0');
    read(text.data());
    text.resize(text.find_last_not_of('\0') + 1);
    value = std::move(text);
    return true;
  }
  if (H5Tequal(type.id(), h5_type(DType::u64).id()) > 0)
    return read(&value.emplace<std::uint64_t>());
  if (H5Tequal(type.id(), h5_type(DType::f64).id()) > 0) return read(&value.emplace<double>());
  return false;
}

}  // namespace

void write_attribute(hid_t object, const std::string& name, const AttributeValue& value,
                     const fs::path& path) {
  const Raw bytes = raw(value);
  const std::string doing = "writing attribute " + name + " of";
  H5Handle attribute;
  if (H5Aexists(object, name.c_str()) > 0) {
    attribute = {h5_check(H5Aopen(object, name.c_str(), H5P_DEFAULT), doing, path), H5Aclose};
  } else {
    const H5Handle space(H5Screate(H5S_SCALAR), H5Sclose);
    attribute = {h5_check(H5Acreate2(object, name.c_str(), bytes.type.id(), space.id(), H5P_DEFAULT,
                                     H5P_DEFAULT),
                          doing, path),
                 H5Aclose};
  }
  h5_check(H5Awrite(attribute.id(), bytes.type.id(), bytes.data), doing, path);
}

Attributes read_attributes(hid_t object, const fs::path& path) {
  H5O_info_t info;
  h5_check_read(H5Oget_info2(object, &info, H5O_INFO_NUM_ATTRS), "reading attributes", path);
  Attributes all;
  for (hsize_t i = 0; i < info.num_attrs; ++i) {
    const H5Handle attribute(h5_check_read(H5Aopen_by_idx(object, ".", H5_INDEX_NAME, H5_ITER_INC,
                                                          i, H5P_DEFAULT, H5P_DEFAULT),
                                           "reading an attribute", path),
                             H5Aclose);
    std::string attribute_name(static_cast<std::size_t>(H5Aget_name(attribute.id(), 0, nullptr)),
                               '\0');
    H5Aget_name(attribute.id(), attribute_name.size() + 1, attribute_name.data());
    AttributeValue value;
    if (read_attribute(attribute.id(), path, value))
      all.emplace(std::move(attribute_name), std::move(value));
  }
  return all;
}

Attributes read_dataset_attributes(hid_t file, const std::string& name, const fs::path& path) {
  return read_attributes(h5_open_dataset(file, name, path).id(), path);
}

const std::string& text_of(const Attributes& attributes, const std::string& name,
                           const fs::path& path) {
  const auto found = attributes.find(name);
  if (found == attributes.end() || !std::holds_alternative<std::string>(found->second))
    throw_damaged(path, fmt::format("text attribute \"{}\" is missing", name));
  return std::get<std::string>(found->second);
}

std::uint64_t count_of(const Attributes& attributes, const std::string& name,
                       const fs::path& path) {
  const auto found = attributes.find(name);
  if (found == attributes.end() || !std::holds_alternative<std::uint64_t>(found->second))
    throw_damaged(path, fmt::format("integer attribute \"{}\" is missing", name));
  return std::get<std::uint64_t>(found->second);
}

void write_header(hid_t file, const ArtifactHeader& header, const fs::path& path) {
  write_attribute(file, "schema", header.schema, path);
  write_attribute(file, "version", static_cast<std::uint64_t>(header.version), path);
  write_attribute(file, "stage", header.stage, path);
  write_attribute(file, "software_version", std::string(kVersion), path);
  for (const auto& [name, digest] : header.parents)
    write_attribute(file, std::string(kParentPrefix) + name, digest, path);
}

ArtifactHeader header_of(const Attributes& attributes, const fs::path& path) {
  ArtifactHeader header;
  header.schema = text_of(attributes, "schema", path);
  header.version = static_cast<int>(count_of(attributes, "version", path));
  header.stage = text_of(attributes, "stage", path);
  header.software_version = text_of(attributes, "software_version", path);
  for (const auto& [name, value] : attributes)
    if (name.starts_with(kParentPrefix))
      header.parents.emplace(name.substr(kParentPrefix.size()), text_of(attributes, name, path));
  return header;
}

bool is_header_attribute(std::string_view name) {
  return name == "schema" || name == "version" || name == "stage" || name == "software_version" ||
         name == kContentDigest || name.starts_with(kParentPrefix);
}

std::string print(const AttributeValue& value) {
  return std::visit([](const auto& held) { return fmt::format("{}", held); }, value);
}

}  // namespace refract
