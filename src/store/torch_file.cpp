#include "refract/store/torch_file.hpp"

#include <fmt/format.h>

#include <limits>

#include "refract/base/error.hpp"
#include "store/stored_zip.hpp"

namespace refract {
namespace {

std::string_view storage_of(const StoredTensor& tensor) {
  if (tensor.dtype == "F32") return "FloatStorage";
  if (tensor.dtype == "BF16") return "BFloat16Storage";
  if (tensor.dtype == "I32") return "IntStorage";
  if (tensor.dtype == "I64") return "LongStorage";
  REFRACT_ASSERT(false, "{} is {}", tensor.name, tensor.dtype);
}

// The opcodes of Python's pickletools, as far as a state dict needs them.
class Pickle {
 public:
  Pickle() { text_ = "\x80\x02"; }
  Pickle& mark() { return add('('); }
  Pickle& tuple() { return add('t'); }  // of what stands behind the mark
  Pickle& reduce() { return add('R'); }
  Pickle& global(std::string_view module, std::string_view name) {
    text_ += fmt::format("c{}\n{}\n", module, name);
    return *this;
  }
  Pickle& text(std::string_view value) {
    add('X').number(value.size(), 4);
    text_ += value;
    return *this;
  }
  Pickle& integer(std::uint64_t value) {
    if (value <= std::numeric_limits<std::int32_t>::max()) return add('J').number(value, 4);
    return add('\x8a').number(9, 1).number(value, 8).number(0, 1);  // signed: a zero on top
  }
  Pickle& no() { return add('\x89'); }
  Pickle& persistent() { return add('Q'); }
  Pickle& ordered_dict() { return global("collections", "OrderedDict").add(')').reduce(); }
  Pickle& set_items() { return add('u'); }
  [[nodiscard]] std::string end() {
    add('.');
    return std::move(text_);
  }

 private:
  Pickle& add(char opcode) {
    text_ += opcode;
    return *this;
  }
  Pickle& number(std::uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) text_ += static_cast<char>(value >> (8 * i));
    return *this;
  }
  std::string text_;
};

// torch._utils._rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, hooks)
void add_tensor(Pickle& pickle, const StoredTensor& tensor, std::size_t at) {
  pickle.text(tensor.name).global("torch._utils", "_rebuild_tensor_v2").mark();
  pickle.mark().text("storage").global("torch", storage_of(tensor)).text(std::to_string(at));
  pickle.text("cpu").integer(element_count(tensor)).tuple().persistent();
  pickle.integer(0).mark();
  for (const std::size_t axis : tensor.shape) pickle.integer(axis);
  pickle.tuple().mark();
  std::size_t stride = element_count(tensor);
  for (const std::size_t axis : tensor.shape) pickle.integer(stride /= axis);
  pickle.tuple().no().ordered_dict().tuple().reduce();
}

}  // namespace

WrittenFile write_torch_file(const fs::path& path, std::span<const StoredTensor> tensors) {
  Pickle pickle;
  pickle.ordered_dict().mark();
  for (std::size_t i = 0; i < tensors.size(); ++i) add_tensor(pickle, tensors[i], i);
  const std::string names = pickle.set_items().end(), order = "little", version = "3\n";
  const auto bytes = [](const std::string& text) { return std::as_bytes(std::span(text)); };
  // torch takes what stands before the first name's slash for the archive's own.
  std::vector<ZipEntry> entries{{"archive/data.pkl", bytes(names)},
                                {"archive/byteorder", bytes(order)}};
  for (std::size_t i = 0; i < tensors.size(); ++i)
    entries.push_back({fmt::format("archive/data/{}", i), tensors[i].bytes});
  entries.push_back({"archive/version", bytes(version)});
  return write_stored_zip(path, entries);
}

}  // namespace refract
