#include "refract/store/safetensors.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "refract/base/error.hpp"

namespace refract {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors bytes are used in place");

constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // the format's own limit
constexpr std::size_t kLengthBytes = 8;

struct DTypeWord {
  std::string_view word;
  std::size_t bytes;
};
constexpr std::array<DTypeWord, 15> kWords{{{"F64", 8},
                                            {"F32", 4},
                                            {"F16", 2},
                                            {"BF16", 2},
                                            {"I64", 8},
                                            {"I32", 4},
                                            {"I16", 2},
                                            {"I8", 1},
                                            {"U64", 8},
                                            {"U32", 4},
                                            {"U16", 2},
                                            {"U8", 1},
                                            {"BOOL", 1},
                                            {"F8_E4M3", 1},
                                            {"F8_E5M2", 1}}};

std::size_t element_bytes(std::string_view word, const fs::path& path, std::string_view tensor) {
  for (const auto& known : kWords) {
    if (known.word == word) return known.bytes;
  }
  throw DataError(
      "{}: tensor '{}' has the unknown dtype '{}'. Save the model again as F32, BF16 or F16.",
      path.string(), tensor, word);
}

// shape product times element size, or a DataError when it does not fit 64 bits.
template <typename SomeTensor>
std::uint64_t byte_count(const SomeTensor& tensor, std::size_t element, const fs::path& path) {
  std::uint64_t total = element;
  for (const std::size_t axis : tensor.shape) {
    if (axis != 0 && total > std::numeric_limits<std::uint64_t>::max() / axis) {
      throw DataError(
          "{}: the shape of tensor '{}' overflows. The file is damaged: fetch it again.",
          path.string(), tensor.name);
    }
    total *= axis;
  }
  return total;
}

struct Placed {
  StoredTensor tensor;
  std::uint64_t begin = 0, end = 0;
};

nlohmann::json parse_header(std::string_view text, const fs::path& path) {
  std::set<std::string> seen;
  const auto refuse_duplicates = [&](int depth, nlohmann::json::parse_event_t event,
                                     nlohmann::json& value) {
    if (event == nlohmann::json::parse_event_t::key && depth == 1 &&
        !seen.insert(value.get<std::string>()).second) {
      throw DataError(
          "{}: tensor '{}' is listed twice in the header. The file is damaged: fetch it again.",
          path.string(), value.get<std::string>());
    }
    return true;
  };
  try {
    auto header = nlohmann::json::parse(text, refuse_duplicates);
    if (!header.is_object())
      throw DataError("{}: the safetensors header is not a JSON object.", path.string());
    return header;
  } catch (const nlohmann::json::exception& error) {
    throw DataError(
        "{}: the safetensors header is not valid JSON ({}). The file is damaged: fetch it again.",
        path.string(), error.what());
  }
}

Placed parse_entry(const std::string& name, const nlohmann::json& entry, const fs::path& path) {
  try {
    Placed placed;
    placed.tensor.name = name;
    placed.tensor.dtype = entry.at("dtype").get<std::string>();
    for (const auto& axis : entry.at("shape")) {
      if (!axis.is_number_unsigned())
        throw DataError("{}: tensor '{}' has a negative axis.", path.string(), name);
      placed.tensor.shape.push_back(axis.get<std::size_t>());
    }
    const auto& offsets = entry.at("data_offsets");
    if (offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
        !offsets[1].is_number_unsigned()) {
      throw DataError("{}: tensor '{}' has no two data_offsets.", path.string(), name);
    }
    placed.begin = offsets[0].get<std::uint64_t>();
    placed.end = offsets[1].get<std::uint64_t>();
    return placed;
  } catch (const nlohmann::json::exception& error) {
    throw DataError("{}: the header entry of tensor '{}' is not dtype, shape, data_offsets ({}).",
                    path.string(), name, error.what());
  }
}

// The tensors must tile the data part exactly, each with the size its shape and dtype say.
void expect_exact_tiling(std::vector<Placed>& placed, std::uint64_t data_bytes,
                         const fs::path& path) {
  std::sort(placed.begin(), placed.end(), [](const Placed& a, const Placed& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  std::uint64_t next = 0;
  for (const auto& [tensor, begin, end] : placed) {
    const std::uint64_t expected =
        byte_count(tensor, element_bytes(tensor.dtype, path, tensor.name), path);
    if (end < begin || end - begin != expected) {
      throw DataError(
          "{}: tensor '{}' occupies {} to {} but its shape and dtype {} need {} bytes. Fetch it "
          "again.",
          path.string(), tensor.name, begin, end, tensor.dtype, expected);
    }
    if (begin != next) {
      throw DataError(
          "{}: tensor '{}' begins at byte {} of the data, expected {} ({}). Fetch the file again.",
          path.string(), tensor.name, begin, next,
          begin < next ? "tensors overlap" : "there is a hole");
    }
    next = end;
  }
  if (next != data_bytes) {
    throw DataError(
        "{}: the header describes {} bytes of tensors, the file holds {} ({}). Fetch it again.",
        path.string(), next, data_bytes,
        next > data_bytes ? "truncated" : "it has bytes at the end");
  }
}

std::vector<const TensorEntry*> in_layout_order(std::span<const TensorEntry> tensors) {
  std::vector<const TensorEntry*> order;
  std::set<std::string_view> names;
  for (const auto& tensor : tensors) {
    REFRACT_ASSERT(names.insert(tensor.name).second, "tensor '{}' given twice", tensor.name);
    order.push_back(&tensor);
  }
  std::sort(order.begin(), order.end(), [](const TensorEntry* a, const TensorEntry* b) {
    const std::size_t a_bytes = element_bytes(a->dtype, {}, a->name),
                      b_bytes = element_bytes(b->dtype, {}, b->name);
    return a_bytes != b_bytes ? a_bytes > b_bytes : a->name < b->name;
  });
  return order;
}

}  // namespace

SafetensorsFile::SafetensorsFile(const fs::path& path) : path_(path), file_(path) {
  const auto bytes = file_.bytes();
  if (bytes.size() < kLengthBytes) {
    throw DataError("{}: {} bytes are too few for a safetensors file. Fetch it again.",
                    path.string(), bytes.size());
  }
  std::uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes.data(), kLengthBytes);
  if (header_bytes > kMaxHeaderBytes || header_bytes > bytes.size() - kLengthBytes) {
    throw DataError(
        "{}: the header length {} does not fit a file of {} bytes: truncated, or not safetensors.",
        path.string(), header_bytes, bytes.size());
  }
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + kLengthBytes,
                              header_bytes);
  const auto header = parse_header(text, path);
  const auto data = bytes.subspan(kLengthBytes + header_bytes);

  std::vector<Placed> placed;
  for (const auto& [name, entry] : header.items()) {
    if (name != "__metadata__") {
      placed.push_back(parse_entry(name, entry, path));
      continue;
    }
    for (const auto& [key, value] : entry.items()) {
      if (value.is_string()) metadata_[key] = value.get<std::string>();
    }
  }
  expect_exact_tiling(placed, data.size(), path);
  for (auto& item : placed) {
    item.tensor.bytes = data.subspan(item.begin, item.end - item.begin);
    tensors_.push_back(std::move(item.tensor));
  }
  std::sort(tensors_.begin(), tensors_.end(),
            [](const StoredTensor& a, const StoredTensor& b) { return a.name < b.name; });
}

const StoredTensor* SafetensorsFile::find(std::string_view name) const {
  const auto found = std::lower_bound(
      tensors_.begin(), tensors_.end(), name,
      [](const StoredTensor& tensor, std::string_view key) { return tensor.name < key; });
  return found != tensors_.end() && found->name == name ? &*found : nullptr;
}

const StoredTensor& SafetensorsFile::at(std::string_view name) const {
  if (const auto* tensor = find(name)) return *tensor;
  throw DataError(
      "{}: tensor '{}' is missing; the file holds {} tensors. Fetch the file again, or check that "
      "it is the kind of file that is expected here.",
      path_.string(), name, tensors_.size());
}

const StoredTensor& SafetensorsFile::at(std::string_view name,
                                        const std::vector<std::size_t>& shape) const {
  const auto& tensor = at(name);
  if (tensor.shape != shape) {
    throw DataError("{}: tensor '{}' has shape [{}], expected [{}].", path_.string(), name,
                    fmt::to_string(fmt::join(tensor.shape, ", ")),
                    fmt::to_string(fmt::join(shape, ", ")));
  }
  return tensor;
}

std::size_t element_count(const StoredTensor& tensor) {
  std::size_t count = 1;
  for (const std::size_t axis : tensor.shape) count *= axis;
  return count;
}

void expect_f32_readable(const StoredTensor& tensor) {
  for (const std::string_view dtype : {"F32", "BF16", "F16", "F64"})
    if (tensor.dtype == dtype) return;
  throw DataError("tensor '{}' has dtype {}, expected F32, BF16, F16 or F64.", tensor.name,
                  tensor.dtype);
}

void read_f32(const StoredTensor& tensor, std::span<float> to) {
  const std::size_t count = element_count(tensor);
  REFRACT_ASSERT(to.size() == count, "tensor '{}' has {} elements, destination {}", tensor.name,
                 count, to.size());
  // memcpy element by element: the data part need not be aligned.
  const auto convert = [&]<typename Stored>(Stored, auto&& widen) {
    for (std::size_t i = 0; i < count; ++i) {
      Stored value;
      std::memcpy(&value, tensor.bytes.data() + i * sizeof(Stored), sizeof(Stored));
      to[i] = widen(value);
    }
  };
  if (tensor.dtype == "F32") {
    if (count != 0) std::memcpy(to.data(), tensor.bytes.data(), count * sizeof(float));
  } else if (tensor.dtype == "BF16") {
    convert(std::uint16_t{}, [](std::uint16_t bits) { return to_float(BFloat16{bits}); });
  } else if (tensor.dtype == "F16") {
    convert(std::uint16_t{}, [](std::uint16_t bits) { return half_to_float(bits); });
  } else if (tensor.dtype == "F64") {
    convert(double{}, [](double value) { return static_cast<float>(value); });
  } else {
    expect_f32_readable(tensor);
  }
}

std::vector<float> read_f32(const StoredTensor& tensor) {
  std::vector<float> values(element_count(tensor));
  read_f32(tensor, values);
  return values;
}

std::vector<std::uint64_t> read_u64(const StoredTensor& tensor) {
  if (tensor.dtype != "U64")
    throw DataError("tensor '{}' has dtype {}, expected U64.", tensor.name, tensor.dtype);
  std::vector<std::uint64_t> values(element_count(tensor));
  if (!values.empty()) std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
  return values;
}

std::string_view safetensors_word(DType dtype) {
  switch (dtype) {
    case DType::f32: return "F32";
    case DType::f64: return "F64";
    case DType::bf16: return "BF16";
    case DType::f16: return "F16";
    case DType::u8: return "U8";
    case DType::u16: return "U16";
    case DType::u32: return "U32";
    case DType::u64: return "U64";
    case DType::i64: return "I64";
  }
  REFRACT_ASSERT(false, "dtype {}", static_cast<int>(dtype));
}

SafetensorsLayout::SafetensorsLayout(std::span<const TensorEntry> tensors,
                                     const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::uint64_t offset = 0;
  for (const TensorEntry* tensor : in_layout_order(tensors)) {
    const std::uint64_t bytes =
        byte_count(*tensor, element_bytes(tensor->dtype, {}, tensor->name), {});
    header[tensor->name] = {{"dtype", tensor->dtype},
                            {"shape", tensor->shape},
                            {"data_offsets", {offset, offset + bytes}}};
    places_[tensor->name] = {offset, bytes};
    offset += bytes;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // readers want the data part 8-byte aligned
  const std::uint64_t length = text.size();
  header_.assign(reinterpret_cast<const char*>(&length), kLengthBytes);
  header_ += text;
  for (auto& [name, place] : places_) place.offset += header_.size();
  bytes_ = header_.size() + offset;
}

const SafetensorsLayout::Place& SafetensorsLayout::at(std::string_view tensor) const {
  const auto found = places_.find(tensor);
  REFRACT_ASSERT(found != places_.end(), "no tensor '{}'", tensor);
  return found->second;
}

SafetensorsWriter::SafetensorsWriter(const fs::path& path, SafetensorsLayout layout,
                                     FileWriter::Begin begin)
    : layout_(std::move(layout)), file_(path, layout_.bytes(), begin) {
  if (begin == FileWriter::Begin::create)
    file_.write(0, std::as_bytes(std::span(layout_.header())));
}

void SafetensorsWriter::write(std::string_view tensor, std::uint64_t offset,
                              std::span<const std::byte> bytes) {
  write_rows(tensor, offset, bytes.size(), bytes.size(), bytes);
}

void SafetensorsWriter::write_rows(std::string_view tensor, std::uint64_t offset,
                                   std::uint64_t row_bytes, std::uint64_t stride,
                                   std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  const SafetensorsLayout::Place& place = layout_.at(tensor);
  const std::uint64_t end = offset + (bytes.size() / row_bytes - 1) * stride + row_bytes;
  REFRACT_ASSERT(end <= place.bytes, "tensor '{}' has {} bytes, written up to {}", tensor,
                 place.bytes, end);
  file_.write_rows(place.offset + offset, row_bytes, stride, bytes);
}

void write_safetensors(const fs::path& path, std::span<const StoredTensor> tensors,
                       const std::map<std::string, std::string>& metadata) {
  const fs::path part = part_name(path);
  std::vector<TensorEntry> entries;
  for (const StoredTensor& tensor : tensors)
    entries.push_back({tensor.name, tensor.dtype, tensor.shape});
  const SafetensorsLayout layout(entries, metadata);
  SafetensorsWriter file(part, layout);
  for (const StoredTensor& tensor : tensors) {
    REFRACT_ASSERT(tensor.bytes.size() == layout.at(tensor.name).bytes, "tensor '{}' has {} bytes",
                   tensor.name, tensor.bytes.size());
    file.write(tensor.name, 0, tensor.bytes);
  }
  (void)file.close();
  sync_path(part);
  rename_durably(part, path);
}

}  // namespace refract
