#include "refract/store/torch_file.hpp"

#include <gtest/gtest.h>

#include <cstring>

#include "unit/store/scratch_folder.hpp"

namespace refract {
namespace {

using test::ScratchFolder;

const std::vector<float> kWeights = {1.5f, -2.0f, 3.0f, 4.0f, 5.0f, -6.25f};
const std::vector<std::int32_t> kCount = {7};

std::string written(const fs::path& path) {
  const StoredTensor tensors[] = {stored_tensor<float>("W", DType::f32, {2, 3}, kWeights),
                                  {"k", "I32", {}, std::as_bytes(std::span(kCount))}};
  settle(write_torch_file(path, tensors));
  return read_file(path);
}

std::uint64_t number_at(const std::string& bytes, std::size_t at, int size) {
  std::uint64_t value = 0;
  std::memcpy(&value, bytes.data() + at, static_cast<std::size_t>(size));
  return value;
}

struct Entry {
  std::string name;
  std::uint64_t header = 0, bytes = 0, size = 0;
};

// By the directory, from the Zip64 record at the end.
std::vector<Entry> entries_of(const std::string& zip) {
  std::vector<Entry> entries;
  const std::size_t end = zip.size() - 22, record = number_at(zip, end - 20 + 8, 8);
  EXPECT_EQ(number_at(zip, end, 4), 0x06054B50U);
  EXPECT_EQ(number_at(zip, record, 4), 0x06064B50U);
  std::size_t at = number_at(zip, record + 48, 8);
  for (std::uint64_t left = number_at(zip, record + 32, 8); left > 0; --left) {
    EXPECT_EQ(number_at(zip, at, 4), 0x02014B50U);
    const std::size_t name = number_at(zip, at + 28, 2), extra = number_at(zip, at + 30, 2);
    const std::size_t field = at + 46 + name;
    Entry entry{zip.substr(at + 46, name), number_at(zip, field + 20, 8), 0,
                number_at(zip, field + 4, 8)};
    entry.bytes = entry.header + 30 + number_at(zip, entry.header + 26, 2) +
                  number_at(zip, entry.header + 28, 2);
    entries.push_back(entry);
    at = field + extra;
  }
  EXPECT_EQ(at, record);
  return entries;
}

TEST(TorchFile, holds_each_tensor_in_an_entry_of_its_own_at_a_multiple_of_64) {
  const ScratchFolder folder;

  const std::string zip = written(folder / "ae.pt");

  const std::vector<Entry> entries = entries_of(zip);
  ASSERT_EQ(entries.size(), 5U);
  const std::vector<std::string> names{"archive/data.pkl", "archive/byteorder", "archive/data/0",
                                       "archive/data/1", "archive/version"};
  for (std::size_t i = 0; i < names.size(); ++i) {
    EXPECT_EQ(entries[i].name, names[i]);
    EXPECT_EQ(entries[i].bytes % 64, 0U);
  }
  EXPECT_EQ(zip.substr(entries[1].bytes, entries[1].size), "little");
  EXPECT_EQ(entries[2].size, sizeof(float) * kWeights.size());
  EXPECT_EQ(std::memcmp(zip.data() + entries[2].bytes, kWeights.data(), entries[2].size), 0);
  EXPECT_EQ(number_at(zip, entries[3].bytes, 4), 7U);
  EXPECT_EQ(zip.substr(entries[4].bytes, entries[4].size), "3\n");
}

// As pickletools reads it; torch.load is asked by tests/interop/layouts_test.py.
TEST(TorchFile, names_the_tensors_in_a_pickle_of_protocol_2) {
  using namespace std::string_literals;
  const ScratchFolder folder;

  const std::string zip = written(folder / "ae.pt");

  const std::string dict = "ccollections\nOrderedDict\n)R"s,
                    rebuild = "ctorch._utils\n_rebuild_tensor_v2\n"s;
  const auto number = [](std::size_t value, char opcode = 'J') {
    return std::string{opcode, static_cast<char>(value), '\0', '\0', '\0'};
  };
  const auto text = [&](const std::string& word) { return number(word.size(), 'X').append(word); };
  const auto storage = [&](const std::string& type, const std::string& key, std::size_t count) {
    return "("s + text("storage") + "ctorch\n" + type + "\n" + text(key) + text("cpu") +
           number(count) + "tQ" + number(0);
  };
  const std::string expected =
      "\x80\x02"s + dict + "(" + text("W") + rebuild + "(" + storage("FloatStorage", "0", 6) + "(" +
      number(2) + number(3) + "t(" + number(3) + number(1) + "t\x89"s + dict + "tR" + text("k") +
      rebuild + "(" + storage("IntStorage", "1", 1) + "(t(t\x89"s + dict + "tRu.";
  const Entry pickle = entries_of(zip).front();
  EXPECT_EQ(zip.substr(pickle.bytes, pickle.size), expected);
}

TEST(TorchFile, has_the_same_bytes_twice) {
  const ScratchFolder folder;

  EXPECT_EQ(written(folder / "a.pt"), written(folder / "b.pt"));
}

}  // namespace
}  // namespace refract
